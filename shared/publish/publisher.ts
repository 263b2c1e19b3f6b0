/** The contract of the publish story at the edge: drafts in, one result per draft out. */
import type { MessageId } from '../identifier.ts';
import type { Draft } from '../message/message.ts';
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

/** `stored`: committed; `confirmed`, `unroutable`: what the broker said in time; `sent`: `fast`, handed to the broker. */
export type PublishedState = 'stored' | 'confirmed' | 'unroutable' | 'failed' | 'sent';

export interface Published {
  readonly id: MessageId;
  readonly state: PublishedState;
  readonly set: string;
  readonly route: { readonly reason: string; readonly distanceKm?: number };
  readonly duplicate: boolean;
}

export interface Publisher {
  /**
   * Publishes one draft to the first SET that takes it.
   * @throws Problem `set-unavailable` with Retry-After when no candidate answers in time; `in-flight`, `key-reused` for
   *   the idempotency key; `not-found` for an unknown topic or SET
   */
  publish(draft: Draft, context: PublishContext): Promise<Published>;
}
