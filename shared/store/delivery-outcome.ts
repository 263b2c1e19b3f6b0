import type { Lease } from '../agenda/agenda.ts';
import type { MessageId } from '../identifier.ts';
import type { Callback } from '../message/callback.ts';
import type { DeliveryState } from '../message/lifecycle.ts';

/** The outcome of one webhook call, to be recorded. */
export interface DeliveryOutcome {
  readonly messageId: MessageId;
  readonly subscription: string;
  readonly state: DeliveryState;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly status: number | null;
  readonly error: string | null;
  /** Null: there was no call, and no attempt is logged. */
  readonly durationMs: number | null;
  /** RETRY: when to try again; LEASED: when the lease ends. */
  readonly retryAfterMs: number;
  /** Of an end that somebody is to be told of: in the name of which SET, where, and the start of the webhook's answer. */
  readonly callback?: { readonly set: string; readonly url: string; readonly answer: string | null };
  /** The agenda entry this try came from; absent for a try that came from the broker. */
  readonly lease?: Lease;
}

/** What a consumer says of a delivery, and what it means by the subscription's schedule. */
export interface AnswerToRecord {
  readonly messageId: MessageId;
  readonly subscription: string;
  /** The try it was handed. */
  readonly attempt: number;
  /** `LEASED` prolongs. */
  readonly state: Exclude<DeliveryState, 'BLOCKED'>;
  readonly error: string | null;
  /** RETRY: when to try again; LEASED: when the lease ends, both from now. */
  readonly afterMs: number;
  /** Whom the subscription tells of ends; what the message says goes before it. */
  readonly callback?: Callback;
}
