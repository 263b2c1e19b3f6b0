/** The desired shape of one SET's RabbitMQ, as data. Pure: provisioning compares and applies it elsewhere. */
import type { Subscription, Topic, TopicType } from '../subscriptions/subscription.ts';
import {
  deadLetterExchange,
  deadLetterQueue,
  exchangeOf,
  priorities,
  queueOf,
  type Priority,
} from './names.ts';

export interface ExchangePlan {
  readonly name: string;
  readonly type: TopicType;
}

export interface QueuePlan {
  readonly name: string;
  readonly arguments: Readonly<Record<string, string | number>>;
  /** Whose it is; absent for the dead-letter queue. */
  readonly subscription?: string;
  readonly priority?: Priority;
}

export interface BindingPlan {
  readonly exchange: string;
  readonly queue: string;
  readonly bindingKey: string;
}

export interface Topology {
  readonly exchanges: readonly ExchangePlan[];
  readonly queues: readonly QueuePlan[];
  readonly bindings: readonly BindingPlan[];
}

/**
 * How often a quorum queue hands a message out again after a host died with it, before it goes to the dead-letter
 * queue. Failed deliveries are acked and retried by the agenda, so only crashes count. RabbitMQ 4 defaults to 20 and
 * drops without a dead-letter exchange (Quorum Queues: Poison Message Handling); never −1.
 */
const deliveryLimit = 100;

/**
 * A quorum queue keeps no bodies in memory (measured on 3.10.8: `message_bytes_ram` is 0, with `x-max-in-memory-length` and
 * without), so a backlog needs no argument and no policy.
 */
const quorum = { 'x-queue-type': 'quorum' } as const;
const subscriptionQueue = {
  ...quorum,
  'x-delivery-limit': deliveryLimit,
  'x-overflow': 'reject-publish',
  'x-dead-letter-exchange': deadLetterExchange,
} as const;

/** Full, it refuses what is published, so that nothing is lost unseen: the message stays READY and is sent again. */
function argumentsOf({ maxLength }: Subscription): QueuePlan['arguments'] {
  return maxLength === undefined ? subscriptionQueue : { ...subscriptionQueue, 'x-max-length': maxLength };
}

export function planTopology(topics: readonly Topic[], subscriptions: readonly Subscription[]): Topology {
  const bound = subscriptions.filter((subscription) =>
    topics.some((topic) => topic.name === subscription.topic),
  );
  return {
    exchanges: [
      { name: deadLetterExchange, type: 'fanout' },
      ...topics.flatMap(({ name, type }) =>
        priorities.map((priority) => ({ name: exchangeOf(name, priority), type })),
      ),
    ],
    queues: [
      { name: deadLetterQueue, arguments: quorum },
      ...bound.flatMap((subscription) =>
        priorities.map((priority) => ({
          name: queueOf(subscription, priority),
          arguments: argumentsOf(subscription),
          subscription: subscription.name,
          priority,
        })),
      ),
    ],
    bindings: [
      { exchange: deadLetterExchange, queue: deadLetterQueue, bindingKey: '' },
      ...bound.flatMap((subscription) =>
        priorities.flatMap((priority) =>
          subscription.bindings.map((bindingKey) => ({
            exchange: exchangeOf(subscription.topic, priority),
            queue: queueOf(subscription, priority),
            bindingKey,
          })),
        ),
      ),
    ],
  };
}

/** Something that was declared, and by which version of the catalog first. */
export type Declared =
  | { readonly kind: 'exchange'; readonly name: string; readonly version: number; readonly type: string }
  | {
      readonly kind: 'queue';
      readonly name: string;
      readonly version: number;
      readonly subscription: string | null;
      readonly priority: Priority | null;
    }
  | {
      readonly kind: 'binding';
      readonly name: string;
      readonly version: number;
      readonly exchange: string;
      readonly queue: string;
      readonly bindingKey: string;
    };

/** A topology as entries of the register. */
export function declaredBy(topology: Topology, version: number): readonly Declared[] {
  return [
    ...topology.exchanges.map(({ name, type }) => ({ kind: 'exchange', name, version, type }) as const),
    ...topology.queues.map(
      ({ name, subscription = null, priority = null }) =>
        ({ kind: 'queue', name, version, subscription, priority }) as const,
    ),
    ...topology.bindings.map(
      (binding) =>
        ({
          ...binding,
          kind: 'binding',
          name: JSON.stringify([binding.exchange, binding.queue, binding.bindingKey]),
          version,
        }) as const,
    ),
  ];
}
