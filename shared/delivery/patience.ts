/** Tries work again and again until it succeeds or the host stops. */
import type { Clock } from '../clock.ts';
import { asProblem } from '../problem.ts';

/** How soon what failed is tried again. */
export const tryAgainMs = 500;

/**
 * The database is away, or the courier. The message stays where it is, unacked, so the prefetch bounds what waits: each
 * return to the queue would count towards its delivery limit, and an outage of a minute would make it a dead letter.
 * @throws the last failure once `isAbandoned` says so; `set-fenced` at once: waiting does not mend it
 */
export async function untilItWorks<T>(
  clock: Clock,
  isAbandoned: () => boolean,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (isAbandoned() || asProblem(error).kind === 'set-fenced') throw error;
      await new Promise<void>((resolve) => clock.after(tryAgainMs, resolve));
    }
  }
}
