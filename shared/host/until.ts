import type { Clock } from '../clock.ts';

/** A short-lived host looks this often whether it may go on. */
const tickMs = 25;

/** Waits until something is true, at most `maxMs`. */
export async function until(clock: Clock, maxMs: number, isTrue: () => boolean): Promise<void> {
  const endMs = clock.nowMs() + maxMs;
  while (!isTrue() && clock.nowMs() < endMs)
    await new Promise<void>((resolve) => clock.after(tickMs, resolve));
}
