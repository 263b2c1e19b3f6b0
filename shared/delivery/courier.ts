/**
 * The contract of the courier: it carries a slice of deliveries to their webhooks and brings back what happened. On
 * Node a local function; on Cloudflare a call of the worker's own RPC entrypoint, because one invocation may have only
 * six connections waiting.
 */
import type { MessageId, TransactionId } from '../identifier.ts';
import type { ArrayItem, FailedItem } from '../message/array.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryFormat, Endpoint } from '../subscriptions/subscription.ts';
import type { AnswerRules, RequestRules } from '../subscriptions/delivery-policy.ts';
import type { CheckAnswer } from '../webhook/check-answer.ts';

export type { CheckAnswer } from '../webhook/check-answer.ts';

/** One delivery to make: everything the courier needs, plain data that survives a structured clone. */
export interface Dispatch extends AnswerRules, RequestRules {
  readonly message: Message;
  /** Present: the call carries all of these, and `message` is the first one. */
  readonly items?: readonly Pick<ArrayItem, 'message' | 'attempt'>[];
  /** The start of the answer's body is wanted, however it went. */
  readonly keeps?: 'answer' | undefined;
  /** The SET that delivers. */
  readonly set: string;
  readonly subscription: string;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly endpoint: Endpoint;
  /** Further endpoints that share the deliveries. */
  readonly members?: readonly Endpoint[] | undefined;
  readonly format: DeliveryFormat;
  readonly secrets: readonly string[];
  readonly timeoutMs: number;
}

/** What a webhook's answer means for the delivery. */
export type Verdict = 'done' | 'leased' | 'retry' | 'dead' | 'disable';

export interface Answer {
  readonly verdict: Verdict;
  /** HTTP status, or null when there was no answer. */
  readonly status: number | null;
  readonly error: string | null;
  /** From `Retry-After`, clamped. */
  readonly retryAfterMs?: number;
  /** `leased`: how long the consumer holds it. */
  readonly leaseMs?: number;
  /** The start of the body, if it was wanted. */
  readonly body?: string;
  /** Of an array that was done: what of it was not. */
  readonly failed?: readonly FailedItem[];
  readonly durationMs: number;
}

/** A question to a producer: what became of your transaction? */
export interface Check {
  readonly url: string;
  /** Names this question: another one each time, because the answer may change. */
  readonly id: string;
  readonly transaction: TransactionId;
  readonly messages: readonly { readonly id: MessageId; readonly topic: string }[];
  readonly secrets: readonly string[];
  readonly timeoutMs: number;
}

/** Something told to a URL that is no delivery: what became of one, or of a gap. JSON, signed like a delivery. */
export interface Notice {
  readonly url: string;
  /** The webhook-id, the same in every try. */
  readonly id: string;
  /** Of this kind: `setway-notice` of the call, by which a receiver tells notices from deliveries. */
  readonly kind: string;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly content: object;
  readonly secrets: readonly string[];
  readonly timeoutMs: number;
}

/** `dead`: no other try helps. */
export interface NoticeAnswer extends Omit<Answer, 'verdict' | 'leaseMs'> {
  readonly verdict: 'done' | 'retry' | 'dead';
}

export interface Courier {
  /** How many dispatches one call should carry. */
  readonly sliceSize: number;
  /** One answer per dispatch, in order. Never rejects for what a webhook does; a rejection means the courier itself failed and nothing is known. */
  carry(slice: readonly Dispatch[]): Promise<readonly Answer[]>;
  /** Never rejects for what a producer does: what is no answer is `unknown`. */
  ask(check: Check): Promise<CheckAnswer>;
  /** Never rejects for what the receiver does. */
  tell(notice: Notice): Promise<NoticeAnswer>;
}
