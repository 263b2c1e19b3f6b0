import type { Clock } from '../shared/clock.ts';
import { Problem } from '../shared/problem.ts';

/**
 * The promise's value, or a refusal after `limitMs`. What comes later is dropped: the work itself is not cancelled.
 * @throws Problem `set-unavailable` when it takes too long; whatever the promise rejects with
 */
export async function withinMs<T>(clock: Clock, promise: Promise<T>, limitMs: number): Promise<T> {
  const { promise: expiry, reject } = Promise.withResolvers<never>();
  const cancel = clock.after(limitMs, () =>
    reject(new Problem('set-unavailable', `No answer within ${limitMs} ms.`, { retryAfterSeconds: 1 })),
  );
  try {
    return await Promise.race([promise, expiry]);
  } finally {
    cancel();
  }
}
