/** Looks again and again until something is there: for what announces itself to nobody, such as a row. */

/** Short against what is waited for, long against what looking costs. */
const pauseMs = 20;

/**
 * @returns the first truthy answer of `look`
 * @throws when the deadline has passed, with the last answer or failure
 * @example const row = await until(5_000, () => findRow(id));
 */
export async function until<T>(
  deadlineMs: number,
  look: () => Promise<T> | T,
): Promise<Exclude<T, undefined | null | false | 0 | ''>> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const answer = await look();
    if (answer) return answer as Exclude<T, undefined | null | false | 0 | ''>;
    if (performance.now() > endMs)
      throw new Error(`Not so within ${deadlineMs} ms: ${look.toString().slice(0, 400)}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
