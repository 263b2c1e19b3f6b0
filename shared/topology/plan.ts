/** The desired shape of one SET's RabbitMQ, as data. Pure: provisioning compares and applies it elsewhere. */
import type { Subscription, Topic, TopicType } from '../subscriptions/subscription.ts';
import { deadLetterExchange, deadLetterQueue, exchangeOf, priorities, queueOf } from './names.ts';

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
const subscriptionQueue = {
  ...quorum,
  'x-delivery-limit': deliveryLimit,
  'x-overflow': 'reject-publish',
  'x-dead-letter-exchange': deadLetterExchange,
} as const;

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
      ...bound.flatMap(({ name }) =>
        priorities.map((priority) => ({ name: queueOf(name, priority), arguments: subscriptionQueue })),
      ),
    ],
    bindings: [
      { exchange: deadLetterExchange, queue: deadLetterQueue, bindingKey: '' },
      ...bound.flatMap(({ bindings, name, topic }) =>
        priorities.flatMap((priority) =>
          bindings.map((bindingKey) => ({
            exchange: exchangeOf(topic, priority),
            queue: queueOf(name, priority),
            bindingKey,
          })),
        ),
      ),
    ],
  };
}
