/**
 * So many calls in any span of a second, a minute or an hour: the times of the last calls are kept, and another one may
 * begin when the one so many before it is a whole span ago. Unlike a bucket that refills, no span holds more than the
 * limit, wherever it begins.
 */
import type { Clock } from '../clock.ts';
import type { RateLimit } from '../subscriptions/delivery-policy.ts';

export interface RateWindow {
  /** Milliseconds until a call may begin; 0: now. */
  waitMs(rate: RateLimit): number;
  began(rate: RateLimit): void;
}

const spanMs = { second: 1_000, minute: 60_000, hour: 3_600_000 } as const;

export function createRateWindow(clock: Pick<Clock, 'nowMs'>): RateWindow {
  let beganAtMs: number[] = [];

  return {
    waitMs({ limit, per }) {
      const before = beganAtMs.at(-limit);
      return before === undefined ? 0 : Math.max(0, before + spanMs[per] - clock.nowMs());
    },
    began({ limit }) {
      beganAtMs.push(clock.nowMs());
      // Cut now and then, not every time: an array that shifts is copied.
      if (beganAtMs.length > 2 * limit) beganAtMs = beganAtMs.slice(-limit);
    },
  };
}

/**
 * What one of several hosts may take of a limit. They need not talk to each other; together they stay within it, as long
 * as there are no more hosts than calls.
 */
export function shareOf(rate: RateLimit, hosts: number): RateLimit {
  return { ...rate, limit: Math.max(1, Math.floor(rate.limit / Math.max(1, hosts))) };
}
