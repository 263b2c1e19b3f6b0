/** Pages of scheduled messages: what several databases answered, as one list in the order of falling due. */

/** A place in that order. */
interface Placed {
  readonly id: string;
  /** Unix microseconds. */
  readonly dueMicros: string;
}

/**
 * A failover may have left one message in two SETs: it is shown once.
 * @example mergeScheduled([ofFirstShard, ofSecondShard], 100)
 */
export function mergeScheduled<Message extends Placed>(
  lists: readonly (readonly Message[])[],
  limit: number,
): readonly Message[] {
  const seen = new Set<string>();
  return lists
    .flat()
    .toSorted((a, b) => Number(a.dueMicros) - Number(b.dueMicros) || (a.id < b.id ? -1 : 1))
    .filter(({ id }) => !seen.has(id) && seen.add(id))
    .slice(0, limit);
}
