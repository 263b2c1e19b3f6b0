/** What an edge asks of the messages a SET keeps, in all its databases. What one of them cannot tell, the SET cannot tell. */
import type { AgendaKind } from '../agenda/agenda.ts';
import { originOf, type ScheduleId } from '../identifier.ts';
import { shardOf } from '../message/shard.ts';
import { Problem } from '../problem.ts';
import { latestFirst } from '../sets/dead-letters.ts';
import { newestFirst } from '../sets/search.ts';
import type { SetLink } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';

interface InquiryParts {
  readonly set: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  /** Something of a kind falls due now. */
  readonly nudge: (kind: AgendaKind) => void;
}

export type Inquiry = Pick<
  SetLink,
  | 'search'
  | 'sequence'
  | 'deadLetters'
  | 'redrive'
  | 'findRedrive'
  | 'replay'
  | 'createSchedule'
  | 'findSchedule'
  | 'listSchedules'
  | 'changeSchedule'
>;

export function createInquiry({ set, stores, nudge }: InquiryParts): Inquiry {
  const everywhere = <T>(ask: (store: Store) => Promise<T>): Promise<T[]> => Promise.all(stores.map(ask));
  const keeperOf = (id: ScheduleId): Store | undefined => stores[originOf(id).shard % stores.length];
  /** Where its id says, or, of one that was taken over, elsewhere. */
  const ofKeeper = async <T>(id: ScheduleId, ask: (store: Store) => Promise<T | undefined>) => {
    const keeper = keeperOf(id);
    const atHome = keeper && (await ask(keeper));
    if (atHome !== undefined) return atHome;
    const elsewhere = await Promise.all(stores.filter((store) => store !== keeper).map(ask));
    return elsewhere.find((answer) => answer !== undefined);
  };
  return {
    async createSchedule(schedule) {
      const keeper = keeperOf(schedule.id);
      if (!keeper) throw new Problem('internal', 'A SET without databases.');
      const record = await keeper.createSchedule(set, schedule);
      nudge('schedule');
      return record;
    },
    findSchedule: (id) => ofKeeper(id, (store) => store.findSchedule(id)),
    async listSchedules(owner) {
      const found = await everywhere((store) => store.listSchedules(owner));
      return found.flat();
    },
    async changeSchedule(change) {
      const record = await ofKeeper(change.id, (store) => store.changeSchedule(set, change));
      nudge('schedule');
      return record;
    },
    async search(search) {
      const found = await everywhere((store) => store.search(set, search));
      return found.flat().toSorted(newestFirst).slice(0, search.limit);
    },
    async sequence(owner, session) {
      const found = await everywhere((store) => store.sequence(owner, session));
      return found.find((record) => record !== undefined);
    },
    async deadLetters(search) {
      const found = await everywhere((store) => store.deadLetters(search));
      return found.flat().toSorted(latestFirst).slice(0, search.limit);
    },
    async redrive(start) {
      const begun = await everywhere((store) => store.beginRedrive(set, start));
      nudge('redrive');
      return begun;
    },
    async findRedrive(id) {
      const found = await everywhere((store) => store.findRedrive(id));
      return found.flatMap((record) => record ?? []);
    },
    async replay(request) {
      const receipt = await stores[shardOf(request.original, stores.length)]?.replay(set, request);
      nudge(request.subscriptions ? 'redeliver' : 'send');
      return receipt;
    },
  };
}
