/**
 * How long a consumer may hold a delivery before it has to say what became of it: `setway-lease` beside
 * `setway-async: 1`, or `lease` of a pull. Written as a duration (`10m`, or seconds).
 */
import { parseDurationMs } from '../duration.ts';

/** Long enough for a job of minutes; a crashed consumer's message waits no longer. */
export const defaultLeaseMs = 600_000;
/** A shorter lease would end while its answer is on its way. */
export const minLeaseMs = 1_000;
/** Whoever needs longer prolongs: a day is as long as a crash may stay unnoticed. */
export const maxLeaseMs = 86_400_000;

/**
 * From a webhook's answer, which cannot be refused any more: what is no duration counts as none, and what is too long or
 * too short as the nearest that is allowed.
 * @example leaseMsOf('10m') // 600_000
 */
export function leaseMsOf(written: string | undefined): number {
  if (written === undefined) return defaultLeaseMs;
  try {
    return Math.min(
      maxLeaseMs,
      Math.max(minLeaseMs, parseDurationMs(written.trim(), { at: 'setway-lease' })),
    );
  } catch {
    return defaultLeaseMs;
  }
}
