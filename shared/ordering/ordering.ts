/**
 * Ordered delivery. A *stream* is a lane or a sequence of one subscription: its items are delivered one after the other,
 * each after the former's success, and any number of streams side by side.
 *
 *   broker hands out ─▶ arrive (bulk): wake the stream ─▶ ack
 *   agenda claim = lease of the stream ─▶ load what follows its cursor ─▶ call ─▶ step: record, move the cursor … ─▶ close
 *
 * What is delivered comes from the store, never from the broker's copy, which is no more than a wake-up: the store
 * numbers a lane in commit order, so a copy that the broker loses, doubles or reorders leaves no gap and makes no
 * disorder. An item that fails stays the head of its stream until it succeeds or is dead; its stream waits for the retry
 * in the agenda, and nobody else does.
 *
 * What if the process dies: before `arrive`, the broker hands the copy out again; after it, the stream's entry is in the
 * agenda; with the lease, it falls due again when the lease ends, and the next holder begins at the cursor: an item whose
 * step was not written is called again under the same id, which the webhook's guard recognises. A worker that is stale
 * without knowing delivers in order as well, and its next step tells it that the lease is gone.
 *
 * The lost wake-up: an arrival while the stream is leased counts `signals` up in the agenda row, and the holder closes the
 * row only at the count it loaded with. Arrivals never touch the due time, which may be the end of a retry's delay.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import { createBatcher, type Batcher } from '../batcher.ts';
import { untilItWorks } from '../delivery/patience.ts';
import type { Message } from '../message/message.ts';
import { shardOf } from '../message/shard.ts';
import type { Arrival, Arrived, LaneLease, StreamStep } from '../store/ordered-store.ts';
import type { Store } from '../store/store.ts';
import type { Desk, OrderParts } from './desk.ts';
import { runLane } from './lane.ts';
import { streamOf } from './stream-name.ts';

export interface Orderer {
  /** A copy the broker handed out; may be acked when this resolves. Retries while the database is away. */
  arrive(message: Message, subscription: string): Promise<Arrived>;
  /** Entries of kind `order`, just claimed for `leaseMs`; resolves when all are closed, put off or given back. */
  work(store: Store, entries: readonly DueEntry[], leaseMs: number): Promise<void>;
  /** Ends what is under way after the item at hand. */
  stop(): void;
  /** Gives up what the database does not take. */
  abandon(): void;
}

const maxArrivals = 500;
const maxStreams = 100;
const lingerMs = 2;

export function createOrderer(parts: OrderParts): Orderer {
  let life: 'working' | 'stopping' | 'abandoned' = 'working';
  const patiently = <T>(work: () => Promise<T>): Promise<T> =>
    untilItWorks(parts.clock, () => life === 'abandoned', work);
  const shared = { lingerMs, maxUnderWay: 2, clock: parts.clock };
  const arrivals = parts.stores.map((store): Batcher<Arrival, Arrived> => {
    const run = async (given: readonly Arrival[]): Promise<readonly Arrived[]> => {
      const arrived = await patiently(() => store.arrive(given, parts.set));
      parts.onDue(0);
      return arrived;
    };
    return createBatcher({ run, maxItems: maxArrivals, ...shared });
  });
  const desks = parts.stores.map((store): Desk => {
    const loads = createBatcher({
      run: (leases: readonly LaneLease[]) => store.loadStreams(leases),
      maxItems: maxStreams,
      ...shared,
    });
    const steps = createBatcher({
      run: (given: readonly StreamStep[]) => patiently(() => store.step(given, parts.host)),
      maxItems: maxArrivals,
      ...shared,
    });
    return {
      store,
      load: async (lease) => (await loads.add([lease]))[0],
      step: async (step) => (await steps.add([step]))[0] ?? 'lost',
      isStopping: () => life !== 'working',
    };
  });

  return {
    async arrive({ id, topic, order }, subscription) {
      // Without an order there is no stream: it is delivered alone.
      if (order?.kind !== 'lane') return 'astray';
      const arrival = { messageId: id, subscription, stream: streamOf('lane', topic, order.lane) };
      const arrived = await arrivals[shardOf(id, arrivals.length)]?.add([arrival]);
      return arrived?.[0] ?? 'astray';
    },
    async work(store, entries, leaseMs) {
      const heldUntilMs = parts.clock.nowMs() + leaseMs;
      const desk = desks[parts.stores.indexOf(store)];
      if (!desk) return;
      // One that fails stays claimed and falls due again when its lease ends.
      await Promise.allSettled(entries.map((entry) => runLane(parts, desk, { entry, heldUntilMs })));
    },
    stop() {
      if (life === 'working') life = 'stopping';
    },
    abandon() {
      life = 'abandoned';
    },
  };
}
