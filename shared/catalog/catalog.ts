/**
 * The catalog: everything that is the same for all SETs — topics, subscriptions, SETs, routes, API keys. One owner
 * (the center) writes it as one versioned document; every SET keeps a copy, so that a SET serves while the center is
 * away. An edge or a host reads the newest document it can reach and compiles it once.
 *
 * Secrets inside the document (broker and database URLs, signing secrets) are sealed (shared/sealed.ts); API keys are
 * hashed.
 */
import type { BucketMove } from '../sets/ownership.ts';
import type { RouteTable } from '../sets/route-table.ts';
import type { SetDefinition } from '../sets/set.ts';
import type { Subscription, Topic } from '../subscriptions/subscription.ts';
import type { ApiKey } from './api-key.ts';

/** How to reach the parts of a SET. */
export interface SetAccess {
  readonly brokerUrls: readonly string[];
  /** One per shard, in shard order. */
  readonly databaseUrls: readonly string[];
  /** RabbitMQ's management API with its administrator; absent: this SET's RabbitMQ is looked after by hand. */
  readonly managementUrl?: string;
}

/** A user's database whose outbox is drained. */
export interface OutboxDefinition {
  readonly name: string;
  /** Under whom its messages are published. */
  readonly owner: string;
  readonly databaseUrl: string;
  readonly table?: string | undefined;
}

/** What becomes of a SET when it fails. */
export interface SetFate {
  /** Whether siblings take over by themselves when no host of it has beaten for the expiry time. */
  readonly takeOver: 'manual' | 'automatic';
  /** `away`: it was taken over without its database, which may hold more. */
  readonly database: 'there' | 'away';
}

export interface Catalog {
  readonly version: number;
  readonly topics: ReadonlyMap<string, Topic>;
  readonly subscriptions: ReadonlyMap<string, Subscription>;
  /** Names of removed subscriptions whose queues go with all they hold. */
  readonly discarded?: ReadonlySet<string>;
  readonly sets: ReadonlyMap<string, SetDefinition>;
  readonly access: ReadonlyMap<string, SetAccess>;
  /** By SET; what is not there is manual, with its database. */
  readonly fates?: ReadonlyMap<string, SetFate>;
  readonly keys: ReadonlyMap<string, ApiKey>;
  readonly outboxes: readonly OutboxDefinition[];
  readonly table: RouteTable;
  /** Buckets on their way from one SET to another. */
  readonly moves?: readonly BucketMove[] | undefined;
}

/** Hands out the catalog; reads it again when it is older than a few seconds, and keeps the last good one when nothing answers. */
export interface CatalogSource {
  current(): Promise<Catalog>;
  /** Reads it now. @throws Problem when no database answers: the last one stays */
  renew?(): Promise<Catalog>;
}
