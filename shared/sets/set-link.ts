/**
 * The contract an edge speaks to a SET. Three ways to hold it: in-process (Node), Durable Object RPC (Cloudflare),
 * HTTP with a service token (a SET host in another region). Answers are plain data; failures are Problems.
 */
import type { MessageId } from '../identifier.ts';
import type { MessageState, DeliveryState } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type { Sample } from '../telemetry.ts';

/** One message offered to a SET. */
export interface Offer {
  readonly message: Message;
  /** Second half of the client's `Idempotency-Key`: unique per owner in the SET's database. */
  readonly idempotency?: { readonly keyHash: string; readonly fingerprint: string };
}

/** What a SET answers for one offer. */
export interface Receipt {
  /** The id the message is stored under: another one than offered if the idempotency key was known already. */
  readonly id: MessageId;
  /** `SENT` is a `fast` message handed to the broker. */
  readonly state: MessageState | 'SENT';
  /** The same id or the same idempotency key was stored before; nothing was stored now. */
  readonly duplicate: boolean;
  /** The idempotency key was used with another request. */
  readonly mismatch?: boolean;
}

export interface AcceptOptions {
  /** Wait up to this long for the broker's confirm before answering; 0 answers once stored. */
  readonly waitMs: number;
}

/** One entry of a message's timeline. */
export interface Attempt {
  readonly attempt: number;
  readonly at: string;
  readonly host: string;
  readonly status: number | null;
  readonly outcome: DeliveryState;
  readonly durationMs: number;
  readonly error: string | null;
}

export interface DeliveryRecord {
  readonly subscription: string;
  readonly state: DeliveryState;
  readonly attempts: readonly Attempt[];
  readonly nextAttemptAt: string | null;
}

/** A message as kept by its SET, with everything that happened to it. */
export interface MessageRecord {
  readonly id: MessageId;
  readonly owner: string;
  readonly topic: string;
  readonly tag: string | null;
  readonly key: string | null;
  readonly state: MessageState;
  readonly set: string;
  readonly route: { readonly reason: string; readonly distanceKm: number | null };
  readonly contentType: string;
  readonly size: number;
  readonly sendAttempts: number;
  readonly acceptedAt: string;
  readonly storedAt: string;
  readonly confirmedAt: string | null;
  readonly error: string | null;
  readonly deliveries: readonly DeliveryRecord[];
}

export interface SetStatus {
  readonly set: string;
  readonly host: string;
  readonly broker: 'connected' | 'blocked' | 'disconnected';
  readonly database: 'up' | 'down';
  /** Messages stored whose confirm is outstanding in this host. */
  readonly unconfirmed: number;
  /** This host's metrics. */
  readonly metrics: readonly Sample[];
}

export interface SetLink {
  /**
   * Takes offers, all or none of the stored ones per database shard. Resolves once every `confirm` message is
   * committed and every `fast` one is written to the broker's socket.
   * @throws Problem `database-unavailable`, `broker-unavailable` (fast only): ask the next SET, under the same ids.
   */
  accept(offers: readonly Offer[], options: AcceptOptions): Promise<readonly Receipt[]>;
  find(id: MessageId): Promise<MessageRecord | undefined>;
  status(): Promise<SetStatus>;
}
