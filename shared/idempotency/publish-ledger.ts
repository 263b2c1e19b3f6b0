/**
 * The contract behind `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): which message the first
 * request with a key became. Shared by all SETs, so that a retry through another edge meets its first attempt.
 *
 *   reserve  → `reserved`: nobody used the key; the offered id is remembered as pending
 *            → `resumed`: an earlier attempt left it pending and its lease ran out: go on under *its* id and SET, so
 *              that whatever it stored is met again instead of stored twice
 *            → `in-flight` (409), `mismatch` (422), `answered`: the first answer
 *   finish   keeps the answer for the retention
 *   release  the attempt failed: the next one resumes at once, under the same id, because a SET that did not answer may
 *            have stored it
 */
import type { MessageId } from '../identifier.ts';

export interface PublishClaim {
  readonly id: MessageId;
  /** SET the message is offered to first. */
  readonly set: string;
  /** Hash of the whole request. */
  readonly fingerprint: string;
  /** Names this attempt alone: two attempts may offer the same id. */
  readonly holder: string;
}

export type LedgerEntry =
  | { readonly outcome: 'reserved' }
  | { readonly outcome: 'resumed'; readonly id: MessageId; readonly set: string }
  | { readonly outcome: 'answered'; readonly answer: string }
  | { readonly outcome: 'in-flight'; readonly retryAfterMs: number }
  | { readonly outcome: 'mismatch' };

export interface PublishLedger {
  /** @throws Problem `redis-unavailable`: let the SET that hash(key) names decide by its database */
  reserve(key: string, claim: PublishClaim, leaseMs: number): Promise<LedgerEntry>;
  /** @param answer JSON text: what the request was answered */
  finish(
    key: string,
    claim: PublishClaim,
    kept: { readonly answer: string; readonly ttlMs: number },
  ): Promise<void>;
  release(key: string, claim: PublishClaim): Promise<void>;
}
