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
 * state and acked without a call. `fast` messages are acked first: at most once.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import type { InboundDelivery } from '../broker/broker.ts';
import type { Clock } from '../clock.ts';
import { fromInbound } from '../message/envelope.ts';
import { deliveryTransitions } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { DeliveryKey, DeliveryStatus, Store } from '../store/store.ts';
import { timeoutOf } from '../subscriptions/delivery-policy.ts';
import { isPushed, type PushedSubscription, type Subscription } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import { defaultLeaseMs } from '../webhook/lease.ts';
import type { Answer, Courier, Dispatch } from './courier.ts';
import { createHearing } from './hearing.ts';
import { afterFailure, leaseEnded } from './lease-ended.ts';
import { createLane, type Lane } from './lane.ts';
import { tryAgainMs, untilItWorks } from './patience.ts';
import { createRecord, keyText, type Patiently } from './record.ts';

export interface DeliverParts {
  readonly set: string;
  readonly host: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly courier: Courier;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** The subscription as the catalog has it now; undefined when it is gone. */
  readonly subscription: (name: string) => Subscription | undefined;
  /** A webhook said 410 Gone. */
  readonly disable: (subscription: string, reason: string) => Promise<void>;
  /** Notes an ordered message for its turn; `astray`: it has none. May be acked when this resolves. */
  readonly arrive: (message: Message, subscription: string) => Promise<'ordered' | 'astray'>;
  /** A retry was written that falls due after this long. */
  readonly onRetry: (afterMs: number) => void;
}

export interface Deliverer {
  /** A message the broker handed out for a subscription. */
  take: (delivery: InboundDelivery, subscription: string) => void;
  /** Entries of kind `redeliver`, just claimed from a shard for `leaseMs`; resolves when all are recorded. */
  redeliver(store: Store, entries: readonly DueEntry[], leaseMs: number): Promise<void>;
  /** One webhook call, not recorded; undefined when no slot was free while it was wanted, or it has no webhook. */
  call(
    message: Message,
    subscription: Subscription,
    attempt: number,
    isWanted?: () => boolean,
  ): Promise<DeliveryOutcome | undefined>;
  /** Deliveries waiting or under way. */
  readonly load: number;
  /** Gives up recording what the database does not take: the broker, or the agenda, hands it out again. */
  abandon(): void;
}

/** A claimed entry of a delivery that has not ended. */
interface OpenEntry {
  readonly entry: DueEntry;
  /** Undefined when it is kept no longer. */
  readonly message: Message | undefined;
  /** Undefined before the first outcome. */
  readonly status: DeliveryStatus | undefined;
}

/** And until when it is certainly ours. */
interface Held extends OpenEntry {
  readonly heldUntilMs: number;
}

/** How long a retry waits for a subscription that is paused, disabled or unknown now. */
const pausedRetryMs = 60_000;

export function createDeliverer(parts: DeliverParts): Deliverer {
  const lanes = new Map<string, Lane>();
  let isAbandoned = false;
  const patiently: Patiently = (work) => untilItWorks(parts.clock, () => isAbandoned, work);
  const record = createRecord(parts, patiently);
  const hears = createHearing(parts);

  const laneOf = (name: string): Lane => {
    const known = lanes.get(name);
    if (known) return known;
    const lane = createLane(parts.courier, () => parts.subscription(name)?.concurrency ?? 1);
    lanes.set(name, lane);
    return lane;
  };

  const deliver: Deliverer['call'] = async (message, subscription, attempt, isWanted) => {
    if (!isPushed(subscription)) return undefined;
    const { name } = subscription;
    const dispatch = { ...dispatchOf(subscription, message, attempt), set: parts.set };
    const isFresh = (): boolean => parts.clock.nowMs() < (message.expiresAtMs ?? Infinity);
    const answer = await laneOf(name).carry(dispatch, () => isFresh() && (isWanted?.() ?? true));
    if (answer === 'not-begun') return isFresh() ? undefined : skipped(parts, message, name, attempt);
    countAnswer(parts, name, answer);
    if (answer.verdict === 'disable')
      await parts.disable(name, answer.error ?? 'The webhook answered 410 Gone.');
    return outcomeOf(message, subscription, attempt, answer);
  };

  const takeStored = async (
    delivery: InboundDelivery,
    message: Message,
    subscription: Subscription,
  ): Promise<void> => {
    // An ordered message is delivered in its turn, unless it has none.
    if (message.order && (await parts.arrive(message, subscription.name)) === 'ordered')
      return delivery.ack();
    const isRepeated = delivery.message.redelivered && (await record.has(message.id, subscription.name));
    if (!isRepeated && hears(subscription, message))
      await record.write(await patiently(() => deliver(message, subscription, 1)));
    delivery.ack();
  };

  const redeliverOne = async (store: Store, { entry, heldUntilMs, message, status }: Held): Promise<void> => {
    const subscription = parts.subscription(entry.subscription ?? '');
    // The entry of another lease, or of a try before it: this one ends with its own.
    if (status?.state === 'LEASED' && status.entry !== entry.entry) return store.finish([entry]);
    // Kept no longer: the retention is over.
    if (!message) return store.finish([entry]);
    // Unknown may mean that this host's catalog is older than the subscription. One that was removed ends with its message.
    if (subscription?.status !== 'active' || !isPushed(subscription))
      return store.release([entry], pausedRetryMs);
    if (!status && !hears(subscription, message)) return store.finish([entry]);
    if (status?.state === 'LEASED')
      return record.write({ ...leaseEnded(message, subscription, status.attempts), lease: entry });
    // A call that outlasts the lease would be made twice: by then the entry is somebody else's.
    const isWanted = (): boolean => parts.clock.nowMs() + subscription.timeoutMs <= heldUntilMs;
    const outcome = await deliver(message, subscription, entry.attempts + 1, isWanted);
    await (outcome ? record.write({ ...outcome, lease: entry }) : store.release([entry], 0));
  };

  return {
    abandon() {
      isAbandoned = true;
    },
    call: deliver,
    get load() {
      return [...lanes.values()].reduce((sum, lane) => sum + lane.load, 0);
    },
    take(delivery, name) {
      const arrival = fromInbound(delivery.message);
      const subscription = parts.subscription(name);
      if (arrival.origin === 'foreign') return delivery.reject();
      const { message } = arrival;
      const again = (): void => void parts.clock.after(tryAgainMs, () => delivery.requeue());
      // Just removed: its consumption is about to stop, and the queue keeps what it holds.
      if (!subscription || !isPushed(subscription)) return again();
      if (message.mode === 'fast') {
        delivery.ack();
        // At most once: a fast message that fails is counted, not tried again.
        if (hears(subscription, message)) void deliver(message, subscription, 1).catch(() => undefined);
        return;
      }
      // The host stops, or something failed that a wait does not mend: the broker hands it out again.
      void takeStored(delivery, message, subscription).catch(again);
    },
    async redeliver(store, entries, leaseMs) {
      const heldUntilMs = parts.clock.nowMs() + leaseMs;
      const held = await openOf(store, entries);
      // One that fails stays claimed and falls due again when its lease ends.
      await Promise.allSettled(held.map((each) => redeliverOne(store, { ...each, heldUntilMs })));
    },
  };
}

function countAnswer({ set, telemetry }: DeliverParts, subscription: string, answer: Answer): void {
  const labels = { set, subscription };
  telemetry.count('setway_deliveries_total', { ...labels, verdict: answer.verdict });
  telemetry.observe('setway_delivery_seconds', labels, answer.durationMs / 1000);
}

/** Loads what entries are about, and finishes those whose delivery has ended. */
async function openOf(store: Store, entries: readonly DueEntry[]): Promise<readonly OpenEntry[]> {
  const [loaded, states] = await Promise.all([
    store.load(entries.flatMap((entry) => entry.refs)),
    store.deliveries(entries.flatMap(keyOf)),
  ]);
  const messages = new Map(loaded.map(({ message }) => [message.id, message]));
  const known = new Map(states.map((status) => [keyText(status), status]));
  const all = entries.map((entry) => {
    const [key] = keyOf(entry);
    return {
      entry,
      message: key && messages.get(key.messageId),
      status: key && known.get(keyText(key)),
    };
  });
  const isOver = ({ status }: OpenEntry): boolean =>
    status !== undefined && deliveryTransitions[status.state].length === 0;
  const over = all.filter(isOver);
  if (over.length > 0) await store.finish(over.map(({ entry }) => entry));
  return all.filter((each) => !isOver(each));
}

function keyOf({ refs, subscription }: DueEntry): readonly DeliveryKey[] {
  return refs.map((messageId) => ({ messageId, subscription: subscription ?? '' }));
}

/** Expired before its turn came: no call is made any more. */
function skipped(
  { set, telemetry }: DeliverParts,
  message: Message,
  subscription: string,
  attempt: number,
): DeliveryOutcome {
  telemetry.count('setway_deliveries_total', { set, subscription, verdict: 'expired' });
  const error = `It expired at ${new Date(message.expiresAtMs ?? 0).toISOString()}.`;
  const nothing = { status: null, durationMs: 0, retryAfterMs: 0 } as const;
  return { messageId: message.id, subscription, attempt, state: 'SKIPPED', error, ...nothing };
}

function dispatchOf(
  subscription: PushedSubscription,
  message: Message,
  attempt: number,
): Omit<Dispatch, 'set'> {
  const { name, endpoint, format, secrets, headers, maxRetryAfterMs, method, nonRetryable } = subscription;
  return {
    message,
    subscription: name,
    attempt,
    endpoint,
    format,
    secrets,
    timeoutMs: timeoutOf(subscription, message),
    method,
    headers,
    maxRetryAfterMs,
    nonRetryable,
  };
}

/** What an answer means for the delivery: done, another try when the schedule says so, or the end. */
function outcomeOf(
  message: Message,
  subscription: Subscription,
  attempt: number,
  answer: Answer,
): DeliveryOutcome {
  const { status, error, durationMs } = answer;
  const shared = {
    messageId: message.id,
    subscription: subscription.name,
    attempt,
    status,
    error,
    durationMs,
  };
  if (answer.verdict === 'done') return { ...shared, state: 'DONE', retryAfterMs: 0 };
  if (answer.verdict === 'leased')
    return { ...shared, state: 'LEASED', retryAfterMs: answer.leaseMs ?? defaultLeaseMs };
  if (answer.verdict === 'retry') {
    const next = afterFailure(message, subscription, attempt);
    return next.state === 'RETRY'
      ? { ...shared, state: 'RETRY', retryAfterMs: answer.retryAfterMs ?? next.retryAfterMs }
      : { ...shared, ...next };
  }
  const isDropped = subscription.atEnd === 'drop' && answer.verdict !== 'disable';
  return { ...shared, state: isDropped ? 'SKIPPED' : 'DEAD', retryAfterMs: 0 };
}
