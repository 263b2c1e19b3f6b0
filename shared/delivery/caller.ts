/**
 * One webhook call, from the lane it waits in to what its answer means. Nothing is recorded here, so that a first try, a
 * retry and the turn of a stream are the same.
 */
import type { Clock } from '../clock.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { Store } from '../store/store.ts';
import { timeoutOf } from '../subscriptions/delivery-policy.ts';
import { isPushed, type PushedSubscription, type Subscription } from '../subscriptions/subscription.ts';
import { liveSecrets } from '../subscriptions/live-secrets.ts';
import type { Telemetry } from '../telemetry.ts';
import { defaultLeaseMs } from '../webhook/lease.ts';
import type { BreakerState } from './breaker.ts';
import type { Answer, Courier, Dispatch } from './courier.ts';
import { isToldOf, withCallback } from './ended.ts';
import { createGatherer, type Gatherer } from './gather.ts';
import { createGate, type Gate } from './gate.ts';
import { createKeyLeases, type KeyLeases } from './key-leases.ts';
import { afterFailure } from './lease-ended.ts';
import { withMembers } from './members.ts';
import { createLane, type Deferred, type Lane, type Wish } from './lane.ts';

export interface CallerParts {
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
  /** Live hosts of this SET, this one included; undefined before that is known. */
  readonly hosts: () => number | undefined;
  /** Told of every answer. */
  readonly onAnswer: (subscription: string, answer: Answer) => void;
  /** A breaker has opened or closed: there is more, or less, to claim. */
  readonly onBreaker: () => void;
}

export interface Caller {
  /** Undefined when no slot was free while it was wanted, or it has no webhook. */
  call(
    message: Message,
    subscription: Subscription,
    attempt: number,
    wish: Wish,
  ): Promise<DeliveryOutcome | Deferred | undefined>;
  /** How many more due deliveries make sense now. */
  room(subscription: string): Room;
  /** Subscriptions whose breaker is not closed. */
  waiting(): Readonly<Record<string, 'open' | 'probing'>>;
  /** The host stops: what waits for a gate goes back. */
  leave(): void;
  /** Deliveries waiting or under way. */
  readonly load: number;
}

/** `againInMs`: there is none now, and this long none will be. */
export type Room = { readonly now: number } | { readonly againInMs: number };

/** How long what the agenda leased waits for a gate that is shut: less than the time a lease gives for a slot. */
const leasedMs = 20_000;

export function createCaller(parts: CallerParts): Caller {
  const lanes = new Map<string, GatedLane>();
  const keys = createKeyLeases(parts.stores, parts.clock, parts.host);

  const laneOf = (name: string): GatedLane => {
    const known = lanes.get(name);
    if (known) return known;
    const lane = openLane(parts, name, keys);
    lanes.set(name, lane);
    return lane;
  };

  return {
    async call(message, subscription, attempt, wish) {
      if (!isPushed(subscription)) return undefined;
      const { name } = subscription;
      const dispatch = { ...dispatchOf(parts.clock, subscription, message, attempt), set: parts.set };
      const isFresh = (): boolean => parts.clock.nowMs() < (message.expiresAtMs ?? Infinity);
      const isWanted = (): boolean => isFresh() && (wish.isWanted?.() ?? true);
      const { lane, gatherer } = laneOf(name);
      // An order is kept by one call after the other.
      const way = subscription.array && !message.order && message.mode !== 'fast' ? gatherer : lane;
      const answer = await way.carry(dispatch, { ...wish, isWanted });
      const isCalled = answer !== 'not-begun' && 'verdict' in answer;
      const about = { message, subscription, set: parts.set };
      if (!isCalled && !isFresh()) return withCallback(skipped(parts, message, name, attempt), about, null);
      if (!isCalled) return answer === 'not-begun' ? undefined : answer;
      countAnswer(parts, name, answer);
      if (answer.verdict === 'disable')
        await parts.disable(name, answer.error ?? 'The webhook answered 410 Gone.');
      const outcome = outcomeOf(message, subscription, attempt, answer);
      return withCallback(outcome, about, answer.body ?? null);
    },
    room(name) {
      const known = lanes.get(name);
      const slots = parts.subscription(name)?.concurrency ?? 1;
      return known ? roomOf(known, slots) : { now: slots };
    },
    waiting: () =>
      Object.fromEntries(
        [...lanes].flatMap(([name, { gate }]) => (gate.breaker === 'closed' ? [] : [[name, gate.breaker]])),
      ),
    leave() {
      for (const { lane } of lanes.values()) lane.leave();
    },
    get load() {
      return [...lanes.values()].reduce((sum, { gatherer, lane }) => sum + gatherer.load + lane.load, 0);
    },
  };
}

function roomOf({ gate, lane }: GatedLane, slots: number): Room {
  const waitMs = gate.waitMs();
  if (gate.breaker !== 'closed') {
    // The probe may be a retry as well as a message from the queue, but there is one.
    const isProbed = waitMs > 0 || lane.load > 0;
    return isProbed ? { againInMs: Math.min(waitMs || leasedMs, leasedMs) } : { now: 1 };
  }
  return waitMs > leasedMs ? { againInMs: waitMs - leasedMs } : { now: slots };
}

interface GatedLane {
  readonly lane: Lane;
  readonly gatherer: Gatherer;
  readonly gate: Gate;
}

const breakerGauge = { closed: 0, probing: 0.5, open: 1 } as const;

function openLane(parts: CallerParts, name: string, keys: KeyLeases): GatedLane {
  const { clock, courier, hosts, set, telemetry } = parts;
  const subscription = (): Subscription | undefined => parts.subscription(name);
  const onBreaker = (state: BreakerState): void => {
    telemetry.set('setway_breaker_state', { set, subscription: name }, breakerGauge[state]);
    parts.onBreaker();
  };
  const gate = createGate({ clock, random: Math.random, policy: subscription, hosts, onBreaker });
  const lane = createLane({
    courier: withMembers(courier, clock, () => subscription()?.members !== undefined),
    clock,
    gate,
    concurrency: () => subscription()?.concurrency ?? 1,
    keys: () => (subscription()?.perKey === undefined ? undefined : keys),
  });
  const rules = () => subscription()?.array ?? { maxItems: 1, maxWaitMs: 0 };
  return { lane, gate, gatherer: createGatherer({ lane, clock, rules }) };
}

/** How a leased entry wishes to be called. */
export function leased(isWanted: (() => boolean) | undefined): Wish {
  return { patienceMs: leasedMs, ...(isWanted ? { isWanted } : {}) };
}

function countAnswer({ onAnswer, set, telemetry }: CallerParts, subscription: string, answer: Answer): void {
  onAnswer(subscription, answer);
  const labels = { set, subscription };
  telemetry.count('setway_deliveries_total', { ...labels, verdict: answer.verdict });
  telemetry.observe('setway_delivery_seconds', labels, answer.durationMs / 1000);
}

/** Expired before its turn came: no call is made any more. */
function skipped(
  { set, telemetry }: CallerParts,
  message: Message,
  subscription: string,
  attempt: number,
): DeliveryOutcome {
  telemetry.count('setway_deliveries_total', { set, subscription, verdict: 'expired' });
  const error = `It expired at ${new Date(message.expiresAtMs ?? 0).toISOString()}.`;
  const nothing = { status: null, durationMs: 0, retryAfterMs: 0 } as const;
  return { messageId: message.id, subscription, attempt, state: 'SKIPPED', error, ...nothing };
}

export function dispatchOf(
  clock: Clock,
  subscription: PushedSubscription,
  message: Message,
  attempt: number,
): Omit<Dispatch, 'set'> {
  const { name, endpoint, format, headers, maxRetryAfterMs, method, nonRetryable } = subscription;
  return {
    message,
    subscription: name,
    attempt,
    endpoint,
    members: subscription.members,
    format,
    secrets: liveSecrets(subscription, clock.nowMs()),
    timeoutMs: timeoutOf(subscription, message),
    method,
    headers,
    maxRetryAfterMs,
    nonRetryable,
    keeps: isToldOf(message, subscription) ? 'answer' : undefined,
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
