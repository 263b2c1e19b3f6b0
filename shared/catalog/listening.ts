/**
 * Since when each subscription hears what it hears: by the versions of the catalog that a SET has kept, and, when many
 * changes of others have pushed its own out of them, by what the catalog says itself.
 */

export interface KeptVersion {
  /** When this SET got it, in Unix milliseconds. */
  readonly appliedAtMs: number;
  readonly subscriptions: readonly KeptSubscription[];
}

interface KeptSubscription {
  readonly name: string;
  readonly topic: string;
  readonly bindings: readonly string[];
  readonly filter?: string | null | undefined;
  /** Unix milliseconds; null for what was never changed entry by entry. */
  readonly since?: number | null;
}

/**
 * @param versions the newest first
 * @returns Unix milliseconds by name; 0 when even the oldest kept version has the subscription as it is now
 */
export function listeningSince(versions: readonly KeptVersion[]): ReadonlyMap<string, number> {
  return sinceAllAlike(versions, isSame, ({ since }) => since ?? 0);
}

/**
 * Since when each subscription is there, whatever it heard meanwhile.
 * @param versions the newest first
 * @returns Unix milliseconds by name; 0 when even the oldest kept version has it
 */
export function subscribedSince(versions: readonly KeptVersion[]): ReadonlyMap<string, number> {
  const isThere = (a: KeptSubscription, b: KeptSubscription): boolean =>
    a.name === b.name && a.topic === b.topic;
  return sinceAllAlike(versions, isThere, () => 0);
}

function sinceAllAlike(
  versions: readonly KeptVersion[],
  isAlike: typeof isSame,
  otherwise: (subscription: KeptSubscription) => number,
): ReadonlyMap<string, number> {
  const [newest] = versions;
  const since = new Map<string, number>();
  for (const subscription of newest?.subscriptions ?? []) {
    const changed = versions.findIndex(
      ({ subscriptions }) => !subscriptions.some((each) => isAlike(each, subscription)),
    );
    const appliedAtMs = versions[changed - 1]?.appliedAtMs ?? 0;
    since.set(subscription.name, changed === -1 ? otherwise(subscription) : appliedAtMs);
  }
  return since;
}

function isSame(a: KeptSubscription, b: KeptSubscription): boolean {
  const heardBy = ({ name, topic, bindings, filter }: KeptSubscription): string =>
    JSON.stringify([name, topic, bindings, filter ?? null]);
  return heardBy(a) === heardBy(b);
}
