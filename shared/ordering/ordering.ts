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
 * in the agenda, and nobody else does. So does an item that its consumer will answer later, until it does.
 *
 * What if the process dies: before `arrive`, the broker hands the copy out again; after it, the stream's entry is in the
 * agenda; with the lease, it falls due again when the lease ends, and the next holder begins at the cursor: an item whose
 * step was not written is called again under the same id, which the webhook's guard recognises. A worker that is stale
 * without knowing delivers in order as well, and its next step tells it that the lease is gone.
 *
 * The lost wake-up: an arrival while the stream is leased counts `signals` up in the agenda row, and the holder closes the
 * row only at the count it loaded with. Arrivals never touch a lane's due time, which may be the end of a retry's delay.
 *
 * A subscription that is new begins in a lane where it stood when the subscription came: its first arrival writes the
 * cursor there. A copy from before, which there should be none of, is astray and delivered alone.
 *
 * A sequence is a stream whose items are counted as they arrive (`gather`), so that the last one wakes it; its agenda entry
 * is its deadline until then. next-turn.ts says what it does next.
 */
import { createHash } from 'node:crypto';
import type { DueEntry } from '../agenda/agenda.ts';
import { createBatcher, type Batcher } from '../batcher.ts';
import { createHearing } from '../delivery/hearing.ts';
import { untilItWorks } from '../delivery/patience.ts';
import type { Message } from '../message/message.ts';
import { shardOf } from '../message/shard.ts';
import type { Arrival, Arrived, LoadLease, StreamStep } from '../store/ordered-store.ts';
import type { Store } from '../store/store.ts';
import type { Desk, OrderParts } from './desk.ts';
import { workOffLane } from './lane.ts';
import { workOffSequence } from './sequence.ts';
import { readStream, streamOf } from './stream-name.ts';
import { pausedRetryMs, type Run } from './turn.ts';

export interface Orderer {
  /** A copy the broker handed out; may be acked when this resolves. Retries while the database is away. */
  arrive(message: Message, subscription: string): Promise<'ordered' | 'astray'>;
  /** Entries of kind `order`, claimed and ours until then; resolves when all are closed, put off or given back. */
  work(store: Store, entries: readonly DueEntry[], heldUntilMs: number): Promise<void>;
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
  const noted = (
    arrive: (given: readonly Arrival[]) => Promise<readonly Arrived[]>,
  ): Batcher<Arrival, Arrived> => {
    const run = async (given: readonly Arrival[]): Promise<readonly Arrived[]> => {
      const arrived = await patiently(() => arrive(given));
      parts.onDue(0);
      return arrived;
    };
    return createBatcher({ run, maxItems: maxArrivals, ...shared });
  };
  const lanes = parts.stores.map((store) => noted((given) => store.arrive(given, parts.set)));
  const sequences = parts.stores.map((store) => noted((given) => store.gather(given, parts)));
  const hears = createHearing(parts);
  const desks = parts.stores.map((store): Desk => {
    const loads = createBatcher({
      run: (leases: readonly LoadLease[]) => store.loadStreams(leases),
      maxItems: maxStreams,
      ...shared,
    });
    const steps = createBatcher({
      async run(given: readonly StreamStep[]) {
        const stepped = await patiently(() => store.step(given, parts.host));
        if (given.some(({ outcome }) => outcome?.callback)) parts.onOwed();
        return stepped;
      },
      maxItems: maxArrivals,
      ...shared,
    });
    return {
      store,
      load: async (lease) => (await loads.add([lease]))[0],
      step: async (given) => (await steps.add(given)).at(-1) ?? 'lost',
      hears,
      isStopping: () => life !== 'working',
    };
  });

  return {
    async arrive(message, subscription) {
      const arrival = arrivalOf(parts, message, subscription);
      // Without an order there is no stream: it is delivered alone.
      if (!arrival) return 'astray';
      const batchers = arrival.item ? sequences : lanes;
      for (;;) {
        const [arrived] = (await batchers[shardOf(message.id, batchers.length)]?.add([arrival])) ?? [];
        if (arrived === 'refused')
          parts.telemetry.count('setway_order_refused_total', { set: parts.set, subscription });
        if (arrived !== 'unclear') return arrived === 'astray' ? 'astray' : 'ordered';
      }
    },
    async work(store, entries, heldUntilMs) {
      const desk = desks[parts.stores.indexOf(store)];
      if (!desk) return;
      // One that fails stays claimed and falls due again when its lease ends.
      await Promise.allSettled(entries.map((entry) => runStream(parts, desk, entry, heldUntilMs)));
    },
    stop() {
      if (life === 'working') life = 'stopping';
    },
    abandon() {
      life = 'abandoned';
    },
  };
}

function arrivalOf(
  { subscribedSinceMs }: OrderParts,
  { id, topic, order, body, contentType }: Message,
  subscription: string,
): Arrival | undefined {
  if (order === undefined) return undefined;
  const shared = { messageId: id, subscription };
  if (order.kind === 'lane')
    return {
      ...shared,
      stream: streamOf('lane', topic, order.lane),
      sinceMs: subscribedSinceMs(subscription),
    };
  const fingerprint = createHash('sha256').update(`${contentType}\n`).update(body).digest('base64url');
  return { ...shared, stream: streamOf('session', topic, order.session), item: { ...order, fingerprint } };
}

/** Lanes are loaded some at a time, sequences whole: their size has a limit. */
const laneLimit = 16;
const sequenceLimit = 1_000;

/** One worker of one stream, from the claim to the close. */
async function runStream(parts: OrderParts, desk: Desk, entry: DueEntry, heldUntilMs: number): Promise<void> {
  const lease = leaseOf(parts, entry);
  // Unknown may mean that this host's catalog is older than the subscription.
  if (!lease) return desk.store.release([entry], pausedRetryMs);
  const run: Run = { lease, heldUntilMs };
  const workOff = lease.lane === undefined ? workOffSequence : workOffLane;
  for (;;) {
    const view = await desk.load(lease);
    if (!view || (await workOff(parts, desk, run, view)) === 'ended') return undefined;
  }
}

function leaseOf(parts: OrderParts, { entry, token, subscription, stream }: DueEntry): LoadLease | undefined {
  const known = parts.subscription(subscription ?? '');
  if (!known || subscription === null || stream === null) return undefined;
  const { kind, topic, of } = readStream(stream);
  if (!parts.topic(topic)) return undefined;
  const shared = { entry, token, subscription, stream, owner: known.owner, topic };
  return kind === 'lane'
    ? { ...shared, lane: of, limit: laneLimit }
    : { ...shared, session: of, limit: sequenceLimit };
}
