/**
 * Copies become messages: of a SET whose database is away, at one heir, in the order in which they were kept.
 *
 * Most are kept by one sibling, the nearest. Those of a time when that one was away are elsewhere: all are read side by
 * side and told apart by the time at which each was kept. What if the process dies: what was committed and not dropped is
 * committed again, which is a duplicate by its id, and dropped then.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { MessageId } from '../identifier.ts';
import { shardOf } from '../message/shard.ts';
import type { Offer } from '../sets/set-link.ts';
import type { KeptCopy, Shelf } from '../store/shelf.ts';
import type { Store } from '../store/store.ts';

export interface PromoteParts {
  readonly catalog: () => Promise<Catalog>;
  readonly shelves: (set: string) => Promise<readonly Shelf[]>;
  readonly stores: (set: string) => Promise<readonly Store[]>;
  readonly report: (line: string) => void;
}

export interface Promotion {
  readonly home: string;
  readonly heir: string;
}

/** Copies of one shelf that are read at once. */
const limit = 200;

/** @returns how many copies there were */
export async function promoteMirrored(parts: PromoteParts, { home, heir }: Promotion): Promise<number> {
  const { sets } = await parts.catalog();
  const keepers = await Promise.all([...sets.keys()].map((set) => parts.shelves(set)));
  const shelves = new Set(keepers.flat());
  const stores = await parts.stores(heir);
  let promoted = 0;
  for (;;) {
    const heads = await Promise.all([...shelves].map(async (shelf) => readHead(shelf, home)));
    for (const { shelf, copies } of heads) if (copies === 'away') shelves.delete(shelf);
    const kept = inOrder(heads.flatMap(({ copies }) => (copies === 'away' ? [] : [copies])));
    if (kept.length === 0) break;
    await commitAll(stores, heir, kept);
    const ids = kept.map(({ offer }) => offer.message.id);
    await Promise.all([...shelves].map(async (shelf) => shelf.drop(home, ids)));
    promoted += kept.length;
  }
  const away = keepers.flat().length - shelves.size;
  // The lost database may be one of them.
  if (away > 1)
    parts.report(`${away} databases do not answer; what they keep copies of waits for the next time.`);
  return promoted;
}

interface Head {
  readonly shelf: Shelf;
  readonly copies: readonly KeptCopy[] | 'away';
}

async function readHead(shelf: Shelf, home: string): Promise<Head> {
  return { shelf, copies: await shelf.oldest(home, limit).catch((): 'away' => 'away') };
}

/** All that are known to be the oldest: behind the last of a full head there may be more. */
function inOrder(heads: readonly (readonly KeptCopy[])[]): readonly KeptCopy[] {
  const until = Math.min(
    ...heads.map((head) => (head.length < limit ? Infinity : (head.at(-1)?.keptAtMs ?? Infinity))),
  );
  return heads
    .flat()
    .filter(({ keptAtMs }) => keptAtMs <= until)
    .toSorted((a, b) => a.keptAtMs - b.keptAtMs);
}

async function commitAll(stores: readonly Store[], heir: string, kept: readonly KeptCopy[]): Promise<void> {
  const byShard = Map.groupBy(kept, ({ offer }) => shardOf(offer.message.id, stores.length));
  // Due at once: any host of the heir sends it.
  const options = { set: heir, resendAfterMs: 0 };
  for (const [shard, some] of byShard) await stores[shard]?.commit(distinct(some, heir), options);
}

/** A message may have been copied to two shelves: one that answered late, and the next. */
function distinct(kept: readonly KeptCopy[], heir: string): readonly Offer[] {
  const seen = new Set<MessageId>();
  return kept.flatMap(({ offer }) => {
    // Its home is another one now, and so is its keeper.
    const { mirror: _mirror, home: _home, message, ...rest } = offer;
    if (seen.has(message.id)) return [];
    seen.add(message.id);
    return [{ ...rest, message: { ...message, placement: { set: heir, reason: 'failover' } } }];
  });
}
