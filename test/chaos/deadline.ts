/** Waits no longer than a test should. */
const deadlineMs = 10_000;

/** @throws what `otherwise` says when it takes too long */
export async function deadline<T>(work: Promise<T>, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(otherwise)), deadlineMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
