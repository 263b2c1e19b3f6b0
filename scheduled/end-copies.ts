/**
 * Ends the copies that siblings keep of messages which have been delivered: first there, then the note of it at home, so
 * that a run which dies between the two is repeated by the next.
 */
import { shardOf } from '../shared/message/shard.ts';
import type { EndedCopy, Store } from '../shared/store/store.ts';
import { forEachSet, type Job, type JobParts } from './run-job.ts';

/** Copies of one statement. */
const limit = 2_000;
/** A cron comes once a minute: end before the next one. */
const maxMs = 20_000;

export const endCopies: Job = {
  name: 'end-copies',
  run: (parts) =>
    forEachSet(parts, async (set) => {
      const { stores } = await parts.databases(set);
      const ended = await Promise.all(stores.map((store) => endIn(parts, set, store)));
      return ended.reduce((sum, amount) => sum + amount, 0);
    }),
};

async function endIn(parts: JobParts, set: string, store: Store): Promise<number> {
  const endMs = parts.clock.nowMs() + maxMs;
  let amount = 0;
  for (;;) {
    const ended = await store.endedCopies(set, limit);
    const byKeeper = Map.groupBy(ended, ({ mirror }) => mirror);
    await Promise.all([...byKeeper].map(([keeper, copies]) => endAt(parts, set, { keeper, copies, store })));
    amount += ended.length;
    if (ended.length < limit || parts.clock.nowMs() >= endMs) return amount;
  }
}

interface Ending {
  readonly keeper: string;
  readonly copies: readonly EndedCopy[];
  readonly store: Store;
}

async function endAt(parts: JobParts, home: string, { keeper, copies, store }: Ending): Promise<void> {
  const { sets } = await parts.catalog.current();
  const ids = copies.map(({ id }) => id);
  // A SET that is retired took its copies along.
  if (sets.has(keeper)) {
    const { shelves } = await parts.databases(keeper);
    const byShard = Map.groupBy(ids, (id) => shardOf(id, shelves.length));
    await Promise.all([...byShard].map(async ([shard, some]) => shelves[shard]?.drop(home, some)));
  }
  await store.forgetCopies(ids);
}
