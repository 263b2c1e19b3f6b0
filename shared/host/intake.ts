/** How many messages a second a host takes: a mean that forgets, counted per group of messages and reckoned per heartbeat. */
import type { Clock } from '../clock.ts';
import { rateSmoothingMs } from '../sets/load.ts';

export interface Intake {
  readonly took: (messages: number) => void;
  /** Messages a second up to now, smoothed. Begins with 0. */
  readonly perSecond: () => number;
}

/** @param smoothingMs time constant of the mean */
export function createIntake(clock: Pick<Clock, 'nowMs'>, smoothingMs = rateSmoothingMs): Intake {
  let sinceMs = clock.nowMs();
  let taken = 0;
  let rate = 0;
  return {
    took: (messages) => void (taken += messages),
    perSecond() {
      const nowMs = clock.nowMs();
      const elapsedMs = nowMs - sinceMs;
      if (elapsedMs <= 0) return rate;
      const kept = Math.exp(-elapsedMs / smoothingMs);
      rate = rate * kept + (1 - kept) * (taken / (elapsedMs / 1_000));
      sinceMs = nowMs;
      taken = 0;
      return rate;
    },
  };
}
