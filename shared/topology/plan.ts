/** The desired shape of one SET's RabbitMQ, as data. Pure: provisioning compares and applies it elsewhere. */
import type { Subscription, Topic, TopicType } from '../subscriptions/subscription.ts';
import { deadLetterExchange, deadLetterQueue, exchangeOf, queueOf } from './names.ts';

export interface ExchangePlan {
  readonly name: string;
  readonly type: TopicType;
}

export interface QueuePlan {
  readonly name: string;
  readonly arguments: Readonly<Record<string, string | number>>;
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

const quorum = { 'x-queue-type': 'quorum' } as const;

export function planTopology(topics: readonly Topic[], subscriptions: readonly Subscription[]): Topology {
  const bound = subscriptions.filter((subscription) =>
    topics.some((topic) => topic.name === subscription.topic),
  );
  return {
    exchanges: [
      { name: deadLetterExchange, type: 'fanout' },
      ...topics.map((topic) => ({ name: exchangeOf(topic.name), type: topic.type })),
    ],
    queues: [
      { name: deadLetterQueue, arguments: quorum },
      ...bound.map((subscription) => ({
        name: queueOf(subscription.name),
        arguments: {
          ...quorum,
          'x-delivery-limit': deliveryLimit,
          'x-overflow': 'reject-publish',
          'x-dead-letter-exchange': deadLetterExchange,
        },
      })),
    ],
    bindings: [
      { exchange: deadLetterExchange, queue: deadLetterQueue, bindingKey: '' },
      ...bound.flatMap((subscription) =>
        subscription.bindings.map((bindingKey) => ({
          exchange: exchangeOf(subscription.topic),
          queue: queueOf(subscription.name),
          bindingKey,
        })),
      ),
    ],
  };
}
