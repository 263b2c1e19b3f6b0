/** Waiting that ends: for work that may take too long, or never end at all. What comes later is dropped, not cancelled. */
import type { Clock } from './clock.ts';
import { Problem } from './problem.ts';

/**
 * The promise's value, or a refusal after `limitMs`.
 * @throws Problem `set-unavailable` when it takes too long; whatever the promise rejects with
 */
export async function withinMs<T>(clock: Clock, limitMs: number, work: Promise<T>): Promise<T> {
  const first = await race(clock, limitMs, work);
  if (first !== tooLate) return first;
  throw new Problem('set-unavailable', `No answer within ${limitMs} ms.`, { retryAfterSeconds: 1 });
}

/**
 * Waits for work that may never end, such as the closing handshake with a broker that no longer answers. A rejection
 * counts as an end, because what is closed here is gone either way.
 * @returns whether the work ended in time
 */
export async function endsWithin(clock: Clock, limitMs: number, work: Promise<unknown>): Promise<boolean> {
  const first = await race(
    clock,
    limitMs,
    work.catch(() => undefined),
  );
  return first !== tooLate;
}

/**
 * Goes on without the work when it takes too long.
 * @throws whatever the work rejects with in time
 */
export async function atMost(clock: Clock, limitMs: number, work: Promise<unknown>): Promise<void> {
  await race(clock, limitMs, work);
}

const tooLate = Symbol('too late');

async function race<T>(clock: Clock, limitMs: number, work: Promise<T>): Promise<T | typeof tooLate> {
  const { promise, resolve } = Promise.withResolvers<typeof tooLate>();
  const cancel = clock.after(limitMs, () => resolve(tooLate));
  try {
    return await Promise.race([work, promise]);
  } finally {
    cancel();
  }
}
