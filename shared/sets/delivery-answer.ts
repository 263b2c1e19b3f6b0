/** What a consumer says of a delivery that it holds, or held: contracts between edge, SET and store. */
import type { MessageId } from '../identifier.ts';
import type { DeliveryState } from '../message/lifecycle.ts';

export interface DeliveryAnswer {
  readonly messageId: MessageId;
  readonly subscription: string;
  /** The try it was handed: what it says is about that one. */
  readonly attempt: number;
  /**
   * `done` is true whenever it is said; `failed` decides while the lease lasts; `extend` lets the lease end that much
   * later than now.
   */
  readonly says: 'done' | 'failed' | 'extend';
  /** `failed`: why, for the record. */
  readonly error?: string;
  /** `failed`: no try will help. */
  readonly retry?: 'never';
  /** `failed`: instead of the schedule's wait. */
  readonly retryAfterMs?: number;
  /** `extend`. */
  readonly leaseMs?: number;
}

/**
 * `made`: it is so now; `was-so`: it was so before; `too-early`: the lease is not written yet, ask again; `too-late`:
 * somebody else has it by now, or it is decided otherwise.
 */
export interface AnswerEffect {
  readonly outcome: 'made' | 'was-so' | 'too-early' | 'too-late';
  /** Undefined when nothing is known of it. */
  readonly state?: DeliveryState;
  /** When the lease ends, or the next try is. */
  readonly nextAttemptAt?: string;
  /** A stream has to go on. */
  readonly wakes?: 'order' | 'redeliver';
  /** Somebody is to be told of the end. */
  readonly owes?: 'callback';
}
