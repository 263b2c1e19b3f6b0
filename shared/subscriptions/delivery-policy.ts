/** How the deliveries of a subscription are made and when they end: what it says, unless the message says otherwise. */
import { retryDelayMs } from '../backoff.ts';
import type { Callback } from '../message/callback.ts';
import type { Message } from '../message/message.ts';
import { toRetries, type RetrySchedule } from '../message/retries.ts';

/** What an answer means beyond the rules for everybody (shared/webhook/outcome.ts). */
export interface AnswerRules {
  /** Statuses after which there is no other try. */
  readonly nonRetryable?: readonly number[] | undefined;
  /** `Retry-After` asks for no longer wait than this. */
  readonly maxRetryAfterMs?: number | undefined;
}

/** How the request of a delivery is written. */
export interface RequestRules {
  readonly method?: WebhookMethod | undefined;
  /** Headers of every call, by lower-case name; they go before those of the message. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface RateLimit {
  readonly limit: number;
  readonly per: 'second' | 'minute' | 'hour';
}

export interface BreakerRules {
  /** Failures in a row that open it; 0: it never opens. */
  readonly failures: number;
  /** The longest wait before a probe, in milliseconds. */
  readonly maxWaitMs: number;
}

export interface ArrayRules {
  readonly maxItems: number;
  /** How long the first one waits for others, in milliseconds. */
  readonly maxWaitMs: number;
}

export interface DisableRules {
  /** So long nothing but failures, in milliseconds. */
  readonly afterMs: number;
  /** And at least so many. */
  readonly failures: number;
}

export type WebhookMethod = 'POST' | 'PUT' | 'PATCH';

/** The part of a subscription that says how deliveries are made; all of it may be left out. */
export interface DeliveryPolicy extends AnswerRules, RequestRules {
  /** In place of `retryDelaysMs`, and how many tries there are in all. */
  readonly retries?: RetrySchedule | undefined;
  /** What becomes of a delivery that failed for good: a dead letter, or SKIPPED, which nobody has to look at. */
  readonly atEnd?: 'dead-letter' | 'drop' | undefined;
  /** Most calls of one SET in any span of that length; hosts of a SET share it. */
  readonly rate?: RateLimit | undefined;
  /** Deliveries of one key never overlap, in whatever order they come. */
  readonly perKey?: 'one-at-a-time' | undefined;
  /** Told how deliveries end, unless the message says otherwise. */
  readonly callback?: Callback | undefined;
  /** Several messages in one call; ordered messages travel alone all the same. */
  readonly array?: ArrayRules | undefined;
  /** When a host leaves a failing webhook alone for a while. */
  readonly breaker?: BreakerRules | undefined;
  /** When a SET gives up on a webhook altogether. */
  readonly disableAfter?: DisableRules | undefined;
}

type Retried = Pick<DeliveryPolicy, 'retries'> & { readonly retryDelaysMs: readonly number[] };

/**
 * The wait after try number `attempt` failed, with jitter; undefined when that was the last one.
 * @example waitAfterMs(subscription, message, 1, Math.random)
 */
export function waitAfterMs(
  subscription: Retried,
  message: Pick<Message, 'retries'>,
  attempt: number,
  random: () => number,
): number | undefined {
  const given = subscription.retries ? toRetries(subscription.retries) : {};
  const own = message.retries ?? {};
  const delaysMs = own.delaysMs ?? given.delaysMs ?? subscription.retryDelaysMs;
  // Whoever brings a list of waits says with it how many tries there are.
  const most = own.maxAttempts ?? (own.delaysMs ? undefined : given.maxAttempts) ?? delaysMs.length + 1;
  if (attempt >= most) return undefined;
  return retryDelayMs(delaysMs, Math.min(attempt, delaysMs.length), random);
}

/** Time of one call: a message may ask for less than its subscription, never for more, since leases last as long as that. */
export function timeoutOf(
  subscription: { readonly timeoutMs: number },
  message: Pick<Message, 'retries'>,
): number {
  return Math.min(subscription.timeoutMs, message.retries?.timeoutMs ?? Infinity);
}
