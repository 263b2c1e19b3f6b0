/** What edges ask of a SET about its scheduled messages: each is in one shard, lists come from all. */
import type { AgendaKind } from '../agenda/agenda.ts';
import { shardOf } from '../message/shard.ts';
import { dueFirst } from '../sets/search.ts';
import type { SetLink } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';

export interface ScheduledCallsParts {
  readonly set: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  /** A message falls due after this long. */
  readonly onDue: (afterMs: number, kind: AgendaKind) => void;
}

export function createScheduledCalls(
  parts: ScheduledCallsParts,
): Pick<SetLink, 'cancel' | 'move' | 'scheduled'> {
  const { set, stores } = parts;
  return {
    cancel: async (request) => stores[shardOf(request.id, stores.length)]?.cancel(request, set),
    async move(request) {
      const moved = await stores[shardOf(request.id, stores.length)]?.move(request, set);
      if (moved?.dueInMs !== undefined) parts.onDue(moved.dueInMs, 'release');
      return moved?.change;
    },
    async scheduled(query) {
      const lists = await Promise.all(stores.map((store) => store.listScheduled(query, set)));
      return lists.flat().toSorted(dueFirst).slice(0, query.limit);
    },
  };
}
