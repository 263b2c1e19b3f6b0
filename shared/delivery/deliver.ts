/**
 * From the broker, or from the agenda, to the webhook and into the record.
 *
 *   first try   broker hands out ─▶ lane ─▶ courier ─▶ record (bulk) ─▶ ack
 *   later tries agenda claim     ─▶ lane ─▶ courier ─▶ record (bulk), which ends the claim
 *   ordered     broker hands out ─▶ noted for its turn ─▶ ack; delivered by shared/ordering
 *
 * A failed delivery is recorded as RETRY in the agenda and *acked*: no requeue loop, nobody blocked behind it. One that
 * its consumer will answer later is recorded as LEASED, with an entry due when the lease ends (answer.ts). What if
 * the process dies: before the record, the broker hands the message out again (or the claim falls due again) and the
 * webhook's guard recognises the copy; between record and ack, the redelivered copy is recognised by its recorded
 * state and acked without a call. `fast` messages are acked as their call begins: at most once.
 *
 * While a subscription's gate is shut (gate.ts) its messages wait here, unacked, so that the broker hands out no more than
 * its prefetch; what would wait too long goes into the agenda, untried, since a broker takes back what stays unacked.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import type { InboundDelivery } from '../broker/broker.ts';
import type { Clock } from '../clock.ts';
import type { PassCopy } from './copies.ts';
import { asMessage, deliverForeign } from './foreign.ts';
import { fromInbound } from '../message/envelope.ts';
import { deliveryTransitions } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import { asProblem } from '../problem.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { Store } from '../store/store.ts';
import { isPushed, type Subscription } from '../subscriptions/subscription.ts';
import { createCaller, leased, type Caller, type CallerParts, type Room } from './caller.ts';
import { createHearing } from './hearing.ts';
import type { Grips } from './grip.ts';
import type { Deferred } from './lane.ts';
import { leaseEnded, offered } from './lease-ended.ts';
import { ownCalls } from './own-calls.ts';
import { tryAgainMs, untilItWorks } from './patience.ts';
import { createRecord, type Known, type Patiently } from './record.ts';

export interface DeliverParts extends CallerParts {
  /** Takes what another SET delivers. */
  readonly passCopy: PassCopy;
  /** Notes an ordered message for its turn; `astray`: it has none. May be acked when this resolves. */
  readonly arrive: (message: Message, subscription: string) => Promise<'ordered' | 'astray'>;
  /** A retry was written that falls due after this long. */
  readonly onRetry: (afterMs: number) => void;
  /** A callback was written that is due. */
  readonly onOwed: () => void;
  readonly grip: Grips['take'];
  /** The SET is fenced: what it has in hand is its own no more. */
  readonly onFenced: () => void;
}

export interface Deliverer {
  /** A message the broker handed out for a subscription. */
  take: (delivery: InboundDelivery, subscription: string) => void;
  /** Entries of kind `redeliver`, claimed from a shard, and ours until then; resolves when all are recorded. */
  redeliver(store: Store, entries: readonly DueEntry[], heldUntilMs: number): Promise<void>;
  /** One webhook call, not recorded; undefined when no slot was free while it was wanted, or it has no webhook. */
  call(
    message: Message,
    subscription: Subscription,
    attempt: number,
    isWanted?: () => boolean,
  ): Promise<DeliveryOutcome | Deferred | undefined>;
  /** How many more due deliveries make sense now. */
  room(subscription: string): Room;
  /** Subscriptions whose breaker is not closed on this host. */
  waiting(): Readonly<Record<string, 'open' | 'probing'>>;
  /** The host stops: what waits for a gate goes back. */
  leave(): void;
  /** Deliveries waiting or under way. */
  readonly load: number;
  /** Gives up recording what the database does not take: the broker, or the agenda, hands it out again. */
  abandon(): void;
}

/** A claimed entry, what is known of it, and until when it is certainly ours. */
interface Held extends Known {
  readonly heldUntilMs: number;
}

/** RabbitMQ takes back what stays unacked for half an hour, and counts that towards the delivery limit. */
const unackedMs = 10 * 60_000;
/** How long a retry waits for a subscription that is paused, disabled or unknown now. */
const pausedRetryMs = 60_000;
/** What waits to be pulled is the puller's to find: its entry only has to stay. */
const unpulledMs = 600_000;

export function createDeliverer(parts: DeliverParts): Deliverer {
  let isLeaving = false;
  let isAbandoned = false;
  const patiently: Patiently = (work) => untilItWorks(parts.clock, () => isAbandoned, work);
  const caller = createCaller(parts);
  const callOwn = ownCalls(parts, caller);
  const arrive = ownArrivals(parts, patiently);
  const record = createRecord(parts, patiently);
  const hears = createHearing(parts);

  const takeStored = async (
    delivery: InboundDelivery,
    message: Message,
    subscription: Subscription,
  ): Promise<void> => {
    // An ordered message is delivered in its turn, unless it has none.
    if (message.order && (await arrive(message, subscription.name)) !== 'astray') return delivery.ack();
    const isRepeated = delivery.message.redelivered && (await record.has(message.id, subscription.name));
    if (!isRepeated && hears(subscription, message)) {
      const outcome = await patiently(() => callOwn(message, subscription, 1, { patienceMs: unackedMs }));
      // This SET was taken over and is back: whoever has the message now delivers it.
      if (outcome === 'gone') return delivery.ack();
      const isDeferred = outcome !== undefined && 'deferMs' in outcome;
      // Not called, and nothing known of it: the broker has to keep it.
      if (!outcome || (isDeferred && isLeaving)) return delivery.requeue();
      await record.write(isDeferred ? putOff(message, subscription, outcome) : outcome);
    }
    delivery.ack();
  };

  const redeliverOne = async (store: Store, { entry, heldUntilMs, message, status }: Held): Promise<void> => {
    const subscription = parts.subscription(entry.subscription ?? '');
    // The entry of another lease, or of a try before it: this one ends with its own.
    if (status?.state === 'LEASED' && status.entry !== entry.entry) return store.finish([entry]);
    // Kept no longer: the retention is over.
    if (!message) return store.finish([entry]);
    // Unknown may mean that this host's catalog is older than the subscription. One that was removed ends with its message.
    if (!subscription) return store.release([entry], pausedRetryMs);
    if (status?.state === 'LEASED')
      return record.write({ ...leaseEnded(message, subscription, status.attempts, parts.set), lease: entry });
    if (!status && !hears(subscription, message)) return store.finish([entry]);
    if (subscription.kind === 'pull')
      return status
        ? store.release([entry], unpulledMs)
        : record.write({ ...offered(message.id, subscription.name), lease: entry });
    if (subscription.status !== 'active' || !isPushed(subscription))
      return store.release([entry], pausedRetryMs);
    // A call that outlasts the lease would be made twice: by then the entry is somebody else's.
    const isWanted = (): boolean => parts.clock.nowMs() + subscription.timeoutMs <= heldUntilMs;
    const outcome = await callOwn(message, subscription, entry.attempts + 1, leased(isWanted));
    // Its entry went with it.
    if (outcome === 'gone') return undefined;
    if (!outcome) return store.release([entry], 0);
    if ('deferMs' in outcome) return store.release([entry], outcome.deferMs);
    await record.write({ ...outcome, lease: entry });
  };

  return {
    abandon() {
      isAbandoned = true;
    },
    async call(message, subscription, attempt, isWanted) {
      const outcome = await callOwn(message, subscription, attempt, leased(isWanted));
      return outcome === 'gone' ? undefined : outcome;
    },
    get load() {
      return caller.load;
    },
    room: (name) => caller.room(name),
    waiting: () => caller.waiting(),
    leave() {
      isLeaving = true;
      caller.leave();
    },
    take(delivery, name) {
      const again = (): void => void parts.clock.after(tryAgainMs, () => delivery.requeue());
      if (delivery.message.isCopy)
        return void patiently(() => parts.passCopy(delivery.message)).then(() => delivery.ack(), again);
      const arrival = fromInbound(delivery.message);
      const subscription = parts.subscription(name);
      // Just removed: its consumption is about to stop, and the queue keeps what it holds.
      if (!subscription || !isPushed(subscription)) return again();
      if (arrival.origin === 'foreign') {
        const foreign = asMessage(arrival.message, parts.set, subscription);
        if (!hears(subscription, foreign)) return delivery.ack();
        return void deliverForeign(
          { ...parts, caller, isLeaving: () => isLeaving },
          delivery,
          foreign,
          subscription,
        );
      }
      const { message } = arrival;
      if (message.mode === 'fast') {
        if (hears(subscription, message))
          void takeFast({ caller, clock: parts.clock }, delivery, message, subscription);
        else delivery.ack();
        return;
      }
      // The host stops, or something failed that a wait does not mend: the broker hands it out again.
      void takeStored(delivery, message, subscription).catch((error: unknown) =>
        // Unacked until the consumption ends: given back now, it would come again at once.
        asProblem(error).kind === 'set-fenced' ? parts.onFenced() : again(),
      );
    },
    async redeliver(store, entries, heldUntilMs) {
      const known = await record.look(store, entries);
      const over = known.filter(isOver);
      if (over.length > 0) await store.finish(over.map(({ entry }) => entry));
      const held = known.filter((each) => !isOver(each));
      // One that fails stays claimed and falls due again when its lease ends.
      await Promise.allSettled(held.map((each) => redeliverOne(store, { ...each, heldUntilMs })));
    },
  };
}

/** At most once: one that fails is counted, not tried again. One whose call has not begun goes back. */
async function takeFast(
  { caller, clock }: { readonly caller: Caller; readonly clock: Clock },
  delivery: InboundDelivery,
  message: Message,
  subscription: Subscription,
): Promise<void> {
  let isAcked = false;
  const onBegin = (): void => {
    isAcked = true;
    delivery.ack();
  };
  for (;;) {
    const wish = { patienceMs: unackedMs, onBegin };
    const outcome = await caller.call(message, subscription, 1, wish).catch(() => undefined);
    if (!outcome || !('deferMs' in outcome)) return isAcked ? undefined : delivery.ack();
    if (!isAcked) return delivery.requeue();
    // Its slot was free, but another host has its key at work: it is in no queue any more.
    await new Promise<void>((resolve) => clock.after(outcome.deferMs, resolve));
  }
}

/** Notes it for its turn, while it is this SET's. @throws Problem `set-fenced` */
function ownArrivals({ arrive, grip }: Pick<DeliverParts, 'arrive' | 'grip'>, patiently: Patiently) {
  return async (message: Message, subscription: string): Promise<'ordered' | 'astray' | 'gone'> => {
    const taken = await patiently(async () => grip(message.id));
    return taken === 'gone' ? taken : arrive(message, subscription);
  };
}

function isOver({ status }: Known): boolean {
  return status !== undefined && deliveryTransitions[status.state].length === 0;
}

/** Not tried at all: the agenda tries it when the gate may be open again. */
function putOff(message: Message, { name }: Subscription, { deferMs }: Deferred): DeliveryOutcome {
  const nothing = { status: null, error: null, durationMs: null } as const;
  return {
    messageId: message.id,
    subscription: name,
    attempt: 0,
    state: 'RETRY',
    retryAfterMs: deferMs,
    ...nothing,
  };
}
