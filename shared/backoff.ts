/**
 * How long to wait before trying again. Randomness is a parameter: `random()` returns [0, 1).
 */

/**
 * Waits before the retries of a delivery, in milliseconds: 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h. With the first
 * try, at once, these are eight tries over 8 h 42 min: a restart is bridged within seconds, a night's outage is not lost.
 */
export const defaultRetryDelaysMs: readonly number[] = [
  5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000, 21_600_000,
];

/** A retry is up to this share later than its schedule says, so that deliveries that failed together come back apart. */
const jitterShare = 0.2;

/**
 * The wait after try number `attempt` (1 for the first) failed: `delaysMs[attempt − 1] × (1 … 1.2)`, never earlier than
 * the schedule says; undefined when the schedule is over and the delivery is dead.
 * @example retryDelayMs(defaultRetryDelaysMs, 1, Math.random) // 5000 … 6000
 */
export function retryDelayMs(
  delaysMs: readonly number[],
  attempt: number,
  random: () => number,
): number | undefined {
  const delayMs = delaysMs[attempt - 1];
  return delayMs === undefined ? undefined : Math.floor(delayMs * (1 + jitterShare * random()));
}

export interface Backoff {
  /** Upper bound of the first wait, in milliseconds. */
  readonly baseMs: number;
  /** Upper bound of every wait, in milliseconds. */
  readonly maxMs: number;
}

/**
 * The wait after failure number `attempt` (1 for the first) of something repeated without end: the bound
 * `min(maxMs, baseMs × 2^(attempt − 1))`, of which one half is fixed and the other random ("equal jitter").
 * With `{ baseMs: 100, maxMs: 5000 }` the bounds are 100, 200, 400, 800, 1600, 3200, 5000, 5000, … ms.
 */
export function backoffMs(backoff: Backoff, attempt: number, random: () => number): number {
  const boundMs = Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.max(0, attempt - 1));
  return Math.floor(boundMs / 2 + (boundMs / 2) * random());
}
