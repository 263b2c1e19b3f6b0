import type { PublishLimit } from '../catalog/publish-limit.ts';
import type { DeliveryPolicy } from './delivery-policy.ts';
import type { Federated, Replication } from './replication.ts';

/** How a topic hands messages to its subscriptions: RabbitMQ's exchange types. */
export type TopicType = 'fanout' | 'direct' | 'topic';

/** Rules that may choose a SET, in the order a topic applies them. */
export type RouteRule = 'explicit' | 'pin' | 'key' | 'nearest' | 'center';

/** Where a message is committed before its 202: in its SET's database, or in that of another SET as well. */
export type Durability = 'stored' | 'mirrored';

export interface Topic {
  readonly name: string;
  readonly owner: string;
  readonly type: TopicType;
  /** `center`: never leaves the center SETs. */
  readonly scope: 'anywhere' | 'center';
  readonly rules: readonly RouteRule[];
  /** Sign the questions to producers of transactions (`whsec_…`), the newest first; without them nobody is asked. */
  readonly secrets?: readonly string[];
  /** How much may be published to it, by all keys together; without it, as much as the SETs take. */
  readonly publishLimit?: PublishLimit | undefined;
  /** Absent: `stored`. See shared/publish/mirror.ts. */
  readonly durability?: Durability | undefined;
  /** Between which SETs it is replicated; without it, a message stays in its SET. */
  readonly replicate?: Replication | undefined;
}

/** Where deliveries go: an https URL, or a webhook function of this deployment by name. */
export type Endpoint = { readonly url: string } | { readonly function: string };

/** How a message looks on the wire to the consumer. */
export type DeliveryFormat = 'raw' | 'cloudevents-binary' | 'cloudevents-structured';

/**
 * Who takes the messages out of the queue: `webhook` we do, and call; `pull` a consumer that asks over HTTP; `amqp` a
 * native consumer of RabbitMQ, and nothing here knows what becomes of them.
 */
export type SubscriptionKind = 'webhook' | 'pull' | 'amqp';

/** A consumer group of a topic: each gets every message (that its bindings match). */
export interface Subscription extends DeliveryPolicy {
  readonly name: string;
  readonly owner: string;
  readonly topic: string;
  /** Absent: a webhook. */
  readonly kind?: SubscriptionKind | undefined;
  /** Of a webhook, and only there. */
  readonly endpoint?: Endpoint | undefined;
  /** Further endpoints that share the deliveries with the first: shared/delivery/members.ts. */
  readonly members?: readonly Endpoint[] | undefined;
  /** Binding keys against the tag; `*` one word, `#` zero or more words; ignored by fanout topics. */
  readonly bindings: readonly string[];
  /** Messages each of its queues holds, per SET and priority; a full one refuses more. Without it, as many as come. */
  readonly maxLength?: number | undefined;
  /** A condition on headers and body (shared/subscriptions/content-filter.ts); without it, every message. */
  readonly filter?: string | undefined;
  readonly format: DeliveryFormat;
  /** Deliveries under way at once, per SET host. */
  readonly concurrency: number;
  /** Total time of one webhook call, in milliseconds. */
  readonly timeoutMs: number;
  /** Waits before each retry, in milliseconds; after the last one the delivery has failed. */
  readonly retryDelaysMs: readonly number[];
  /** Signing secrets (`whsec_…`) and keys (`whsk_…`), the newest first; several during a rotation. Never logged. */
  readonly secrets: readonly string[];
  /** Until when the secrets after the first sign, in Unix milliseconds; what is not said signs for ever. */
  readonly retiring?: readonly number[] | undefined;
  /** Items of a sequence: one call after the other (the default), or all in one call. */
  readonly ordered?: 'one-by-one' | 'together' | undefined;
  /** Its queues in these SETs (absent: in all) lend each other messages: a native consumer with nothing to do gets some. */
  readonly federate?: Federated | undefined;
  readonly status: 'active' | 'paused' | 'disabled';
  /** Why it is paused, in the words of whoever did it. */
  readonly statusReason?: string | undefined;
}

/** A subscription whose messages are pushed to a webhook. */
export type PushedSubscription = Subscription & { readonly endpoint: Endpoint };

export function isPushed(subscription: Subscription): subscription is PushedSubscription {
  return (subscription.kind ?? 'webhook') === 'webhook' && subscription.endpoint !== undefined;
}
