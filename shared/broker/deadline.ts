import type { Clock } from '../clock.ts';

/**
 * Waits for work that may never end, such as the closing handshake with a broker that no longer answers. A rejection
 * counts as an end, because what is closed here is gone either way.
 * @returns whether the work ended in time
 */
export async function endsWithin(clock: Clock, timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  let cancel = (): void => {};
  const late = new Promise<boolean>((resolve) => {
    cancel = clock.after(timeoutMs, () => resolve(false));
  });
  const done = work.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([done, late]);
  cancel();
  return inTime;
}
