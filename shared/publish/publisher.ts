/** The contract of the publish story at the edge: drafts in, one result per draft out. */
import type { MessageId } from '../identifier.ts';
import type { Draft } from '../message/message.ts';
import type { Problem } from '../problem.ts';
import type { Preparation } from '../sets/set-link.ts';
import type { Place } from '../sets/set.ts';

export interface PublishContext {
  readonly owner: string;
  /** Where the publisher is, if the platform or the request tells. */
  readonly place?: Place;
  readonly traceparent?: string;
  /** How long to wait for the broker's confirm before answering; 0 answers once stored. */
  readonly waitMs: number;
  /** The client's key and a hash of the whole request, one per request (not per draft). */
  readonly idempotency?: { readonly key: string; readonly fingerprint: string };
}

/**
 * `stored`: committed; `scheduled`: committed, due later; `prepared`: committed as a half message; `confirmed`,
 * `unroutable`: what the broker said in time; `sent`: `fast`, handed to the broker. The others are met by retries only.
 */
export type PublishedState =
  | 'stored'
  | 'scheduled'
  | 'prepared'
  | 'confirmed'
  | 'unroutable'
  | 'failed'
  | 'sent'
  | 'cancelled'
  | 'rolled_back'
  | 'check_exhausted';

export interface Published {
  readonly id: MessageId;
  readonly state: PublishedState;
  readonly set: string;
  readonly route: { readonly reason: string; readonly distanceKm?: number };
  readonly duplicate: boolean;
}

/** What holds drafts together. */
export interface Bond {
  /** They are half messages of one transaction; its id follows from the first message's (`transactionOf`). */
  readonly transaction?: Omit<Preparation, 'id'>;
}

export interface Publisher {
  /**
   * Publishes one draft to the first SET that takes it.
   * @throws Problem `set-unavailable` with Retry-After when no candidate answers in time; `in-flight`, `key-reused` for
   *   the idempotency key; `not-found` for an unknown topic or SET
   */
  publish(draft: Draft, context: PublishContext): Promise<Published>;
  /**
   * Publishes drafts that have nothing to do with each other, each to its own SET, with one call per SET.
   * @returns a result or a Problem per draft, in order; one that fails does not harm the others
   * @throws Problem `in-flight`, `key-reused`
   */
  publishMany(drafts: readonly Draft[], context: PublishContext): Promise<readonly (Published | Problem)[]>;
  /**
   * Publishes drafts all or none, in one database of one SET, in their order.
   * @throws Problem as `publish`
   */
  publishTogether(
    drafts: readonly Draft[],
    context: PublishContext,
    bond: Bond,
  ): Promise<readonly Published[]>;
}
