/**
 * Copies the messages that wait for subscriptions of one SET into the databases of another, under their ids: for a shovel,
 * so that the hosts there can tell what became of them. A take-over (take-over.ts) moves messages without the queues; a
 * shovel also brings what is in no database, fast messages and those of native publishers, out of a SET that is not fenced.
 */
import type { SetEntry } from '../catalog/document.ts';
import { fromUuid } from '../identifier.ts';
import { shardOf } from '../message/shard.ts';
import { Problem } from '../problem.ts';
import { findSet, type FleetParts } from './fleet.ts';

export interface Copying {
  readonly from: SetEntry;
  readonly to: SetEntry;
  readonly subscriptions: readonly string[];
}

/** @throws Problem `conflict` when ordered messages are among them; nothing was copied of their page */
export async function copyUndelivered(
  parts: FleetParts,
  { from, to, subscriptions }: Copying,
): Promise<number> {
  const { catalog } = await findSet(parts, from.id);
  const topics = [...new Set(subscriptions.flatMap((name) => catalog.subscriptions.get(name)?.topic ?? []))];
  const targets = to.databaseUrls.map(parts.database);
  let copied = 0;
  for (const source of from.databaseUrls.map(parts.database)) {
    for (let after: string | undefined = ''; after !== undefined;) {
      const { messages, ordered, next } = await source.undelivered({ subscriptions, topics, after });
      if (ordered > 0)
        throw new Problem(
          'conflict',
          `Ordered messages wait in SET "${from.id}", and only it knows their order. Let it deliver them first.`,
        );
      const byShard = Map.groupBy(messages, ({ id }) => shardOf(fromUuid(id), targets.length));
      for (const [shard, rows] of byShard) await targets[shard]?.keep(rows);
      copied += messages.length;
      after = next;
    }
  }
  return copied;
}
