/**
 * Messages for consumers that ask for them. Where they wait: the new ones in the subscription's queues, those that failed
 * or whose lease ended in the store (RETRY, due), and an ordered one in the store as well, as the head of its stream.
 *
 *   pull ─▶ lease what waits in the store (one statement)
 *        ─▶ take the rest out of the queues ─▶ record all as LEASED (one statement) ─▶ ack ─▶ hand out
 *   then done, failed, extend, or the end of the lease: answer.ts
 *
 * What if the process dies: before the record, the broker hands the messages out again; between record and ack too, and
 * the copies are recognised by their record and acked without being handed out; after it, or when the puller never gets
 * the answer, the leases end. Two pullers at once never hold one message: the broker hands a message to one of them, the
 * store locks a row for one, and a copy is handed out only if its LEASED was written.
 *
 * Nobody waits on a channel: a puller that waits asks whether there is anything, and all that ask within a moment share
 * one look.
 */
import { createHearing, type Hears } from './hearing.ts';
import type { Broker, InboundDelivery } from '../broker/broker.ts';
import type { Clock } from '../clock.ts';
import { fromInbound } from '../message/envelope.ts';
import type { Message } from '../message/message.ts';
import { shardOf } from '../message/shard.ts';
import { Problem } from '../problem.ts';
import type { PulledMessage, PullRequest } from '../sets/pull.ts';
import type { SetLink } from '../sets/set-link.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { Store } from '../store/store.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import { priorities, queueOf } from '../topology/names.ts';
import { withCallback } from './ended.ts';
import type { PassCopy } from './copies.ts';
import type { Grips } from './grip.ts';
import { keyText } from './record.ts';

export interface PullParts {
  readonly set: string;
  readonly host: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly broker: Pick<Broker, 'take' | 'depths' | 'state'>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly subscription: (name: string) => Subscription | undefined;
  /** Takes what another SET delivers. */
  readonly passCopy: PassCopy;
  readonly grip: Grips['take'];
  /** Notes an ordered message for its turn; `astray`: it has none. */
  readonly arrive: (message: Message, subscription: string) => Promise<'ordered' | 'astray'>;
  readonly onDue: (afterMs: number, kind: 'order' | 'redeliver' | 'callback') => void;
  /** A host that was just opened knows no subscriptions yet: resolves when it does, or cannot. */
  readonly ready: () => Promise<void>;
}

/** Bodies of one answer of one SET, but for the last one: a puller asks again for more. */
const mostBytes = 4_194_304;
/** What was taken may be nobody's to pull (copies, filtered, ordered): look behind it, but not for ever. */
const maxRounds = 5;
/** How often a waiting puller's SET is looked at. */
const lookMs = 300;

export function createPuller(parts: PullParts): Pick<SetLink, 'pull' | 'awaitMessages'> {
  const hears = createHearing(parts);
  const looks = createLooks(parts);
  return {
    async pull(request) {
      await parts.ready();
      const subscription = pullable(parts, request.subscription);
      const found: PulledMessage[] = [];
      const roomIn = (): Room | undefined => roomBeside(found, request);
      for (const store of parts.stores) {
        const room = roomIn();
        if (room) found.push(...(await fromStore(parts, store, subscription, { ...request, ...room })));
      }
      for (let round = 0; round < maxRounds && parts.broker.state !== 'disconnected'; round++) {
        const room = roomIn();
        if (!room) break;
        const { taken, pulled } = await fromQueues(parts, hears, subscription, { ...request, ...room });
        found.push(...pulled);
        // All that was ready is here.
        if (taken < room.max) break;
      }
      return found.map(detached);
    },
    async awaitMessages(name, waitMs) {
      await parts.ready();
      pullable(parts, name);
      const endMs = parts.clock.nowMs() + waitMs;
      for (;;) {
        if (await looks(name)) return true;
        const leftMs = endMs - parts.clock.nowMs();
        if (leftMs <= 0) return false;
        await new Promise<void>((resolve) => parts.clock.after(Math.min(lookMs, leftMs), resolve));
      }
    },
  };
}

/** What a pull may still take. */
interface Room {
  readonly max: number;
  readonly maxBytes: number;
}

function roomBeside(found: readonly PulledMessage[], request: PullRequest): Room | undefined {
  const max = request.max - found.length;
  const maxBytes = mostBytes - found.reduce((bytes, { message }) => bytes + message.body.byteLength, 0);
  return max > 0 && maxBytes > 0 ? { max, maxBytes } : undefined;
}

function pullable({ subscription }: PullParts, name: string): Subscription {
  const found = subscription(name);
  if (found?.kind !== 'pull')
    throw new Problem('not-found', `There is no subscription "${name}" to pull from.`);
  if (found.status === 'active') return found;
  throw new Problem('conflict', `The subscription "${name}" is ${found.status}.`);
}

async function fromStore(
  { set, host, clock, onDue }: PullParts,
  store: Store,
  { callback }: Subscription,
  request: PullRequest & Room,
): Promise<readonly PulledMessage[]> {
  const leased = await store.lease({ set, host, ...request });
  const isOver = ({ message }: PulledMessage): boolean => clock.nowMs() >= (message.expiresAtMs ?? Infinity);
  const over = leased.filter(isOver);
  if (over.length > 0) {
    const said = over.map(({ message, attempt }) => ({ messageId: message.id, attempt }));
    const ended = {
      subscription: request.subscription,
      state: 'SKIPPED',
      error: 'It expired.',
      afterMs: 0,
      ...(callback === undefined ? {} : { callback }),
    } as const;
    const effects = await store.answer(
      said.map((each) => ({ ...each, ...ended })),
      { set, host },
    );
    for (const { wakes, owes } of effects) {
      if (wakes) onDue(0, wakes);
      if (owes) onDue(0, owes);
    }
  }
  return leased.filter((each) => !isOver(each));
}

interface Taken {
  /** Messages that were taken out of the queues, whatever became of them. */
  readonly taken: number;
  readonly pulled: readonly PulledMessage[];
}

async function fromQueues(
  parts: PullParts,
  hears: Hears,
  subscription: Subscription,
  { max, maxBytes, leaseMs }: PullRequest & Room,
): Promise<Taken> {
  const queues = [...priorities].toReversed().map((priority) => queueOf(subscription, priority));
  return parts.broker.take({ queues, max, maxBytes }, async (deliveries) => {
    const copies = deliveries.filter(({ message }) => message.isCopy);
    await Promise.all(copies.map(async (copy) => parts.passCopy(copy.message).then(() => copy.ack())));
    const originals = deliveries.filter(({ message }) => !message.isCopy);
    const read = originals.map((delivery) => ({ delivery, arrival: fromInbound(delivery.message) }));
    for (const { delivery, arrival } of read) if (arrival.origin === 'foreign') delivery.reject();
    const own = read.flatMap(({ delivery, arrival }) =>
      arrival.origin === 'foreign' ? [] : [{ delivery, message: arrival.message }],
    );
    const grips = await Promise.all(own.map(async ({ message }) => parts.grip(message.id)));
    const here = own.filter((_, index) => grips[index] !== 'gone');
    const pulled = await leaseFresh(parts, hears, subscription, { own: here, leaseMs });
    for (const { delivery } of own) delivery.ack();
    return { taken: deliveries.length, pulled };
  });
}

interface Fresh {
  readonly own: readonly { readonly delivery: InboundDelivery; readonly message: Message }[];
  readonly leaseMs: number;
}

/** Everything given may be acked when this resolves. */
async function leaseFresh(
  parts: PullParts,
  hears: Hears,
  subscription: Subscription,
  { own, leaseMs }: Fresh,
): Promise<readonly PulledMessage[]> {
  const { name } = subscription;
  const places = await Promise.all(
    own.map(async ({ message }) => (message.order ? parts.arrive(message, name) : 'astray')),
  );
  const alone = own.flatMap(({ message }, index) => (places[index] === 'ordered' ? [] : [message]));
  // The broker may hand out copies side by side.
  const each = [...new Map(alone.map((message) => [message.id, message])).values()];
  const heard = each.filter((message) => hears(subscription, message));
  const isFresh = ({ expiresAtMs }: Message): boolean => parts.clock.nowMs() < (expiresAtMs ?? Infinity);
  const outcomes = heard
    .filter(({ mode }) => mode !== 'fast')
    .map((message) => {
      const outcome = outcomeOf(message, name, isFresh(message) ? leaseMs : undefined);
      return withCallback(outcome, { message, subscription, set: parts.set }, null);
    });
  const leased = await recordAll(parts, outcomes);
  parts.telemetry.count('setway_pulled_total', { set: parts.set, subscription: name }, leased.size);
  return heard.flatMap((message) => {
    if (message.mode === 'fast') return isFresh(message) ? [{ message, attempt: 0 }] : [];
    return leased.has(keyText({ messageId: message.id, subscription: name }))
      ? [{ message, attempt: 1 }]
      : [];
  });
}

/** @param leaseMs undefined: it has expired */
function outcomeOf(message: Message, subscription: string, leaseMs: number | undefined): DeliveryOutcome {
  const shared = { messageId: message.id, subscription, attempt: 1, status: null, durationMs: 0 } as const;
  return leaseMs === undefined
    ? { ...shared, state: 'SKIPPED', error: 'It expired.', retryAfterMs: 0 }
    : { ...shared, state: 'LEASED', error: null, retryAfterMs: leaseMs };
}

/** @returns the deliveries that are leased now (`keyText`): a copy of one that is known already is not */
async function recordAll(
  { stores, set, host, onDue }: PullParts,
  outcomes: readonly DeliveryOutcome[],
): Promise<ReadonlySet<string>> {
  const recorded = await Promise.all(
    stores.map(async (store, shard) => {
      const own = outcomes.filter(({ messageId }) => shardOf(messageId, stores.length) === shard);
      return own.length === 0 ? [] : store.record(own, { set, host });
    }),
  );
  const [first] = outcomes;
  if (first) onDue(first.retryAfterMs, 'redeliver');
  if (outcomes.some(({ callback }) => callback)) onDue(0, 'callback');
  return new Set(recorded.flat().map(keyText));
}

/** A body is a view into a whole socket read, and a structured clone takes all of what a view looks into. */
function detached({ message, attempt }: PulledMessage): PulledMessage {
  return { message: { ...message, body: new Uint8Array(message.body) }, attempt };
}

/** Whether anything waits for a subscription: all that ask within a moment share one look. */
function createLooks(parts: PullParts): (name: string) => Promise<boolean> {
  const kept = new Map<string, { readonly atMs: number; readonly seen: Promise<boolean> }>();
  return (name) => {
    const last = kept.get(name);
    const nowMs = parts.clock.nowMs();
    if (last && nowMs - last.atMs < lookMs / 2) return last.seen;
    const seen = look(parts, name);
    kept.set(name, { atMs: nowMs, seen });
    // Whoever waits is told; nobody else has to be.
    seen.catch(() => undefined);
    return seen;
  };
}

async function look({ broker, stores, subscription }: PullParts, name: string): Promise<boolean> {
  const queues = priorities.map((priority) => queueOf(subscription(name) ?? { name }, priority));
  const [depths, nexts] = await Promise.all([
    broker.state === 'disconnected' ? new Map<string, number>() : broker.depths(queues),
    Promise.all(stores.map((store) => store.nextWaitingInMs(name))),
  ]);
  return (
    [...depths.values()].some((depth) => depth > 0) || nexts.some((next) => next !== undefined && next <= 0)
  );
}
