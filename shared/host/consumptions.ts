/**
 * Keeps one consumption per queue of each active subscription of a SET (normal and high priority): begins those that are missing, stops those whose
 * subscription was paused or removed, and begins anew where the broker ended one (channel or connection lost).
 */
import type { Broker, Consumption, InboundDelivery } from '../broker/broker.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { priorities, queueOf } from '../topology/names.ts';

export interface ConsumptionsParts {
  readonly broker: Broker;
  readonly take: (delivery: InboundDelivery, subscription: string) => void;
  /** For the messages in flight of a subscription that goes. */
  readonly graceMs: number;
}

export interface Consumptions {
  /** Makes what is consumed equal to these subscriptions. Never rejects: what fails is tried at the next call. */
  reconcile(subscriptions: readonly Subscription[], graceMs?: number): Promise<void>;
  /** Messages handed out so far. */
  readonly taken: number;
  stop(graceMs: number): Promise<void>;
}

/** A queue to consume. */
interface Wanted {
  readonly queue: string;
  readonly subscription: string;
  readonly prefetch: number;
}

/**
 * Twice what runs: the next messages are here before a slot is free, and another host still finds work. Of a limited
 * subscription, what it may call in ten seconds: what waits longer is better off in the queue.
 */
function queuesOf(subscription: Subscription): readonly Wanted[] {
  const { concurrency, rate } = subscription;
  const most = rate ? Math.max(1, Math.ceil(rate.limit * tenSecondsOf[rate.per])) : Infinity;
  const prefetch = Math.min(concurrency * 2, 2000, most);
  return priorities.map((priority) => ({
    queue: queueOf(subscription, priority),
    subscription: subscription.name,
    prefetch,
  }));
}

/** Ten seconds as a share of a rate's span. */
const tenSecondsOf = { second: 10, minute: 10 / 60, hour: 10 / 3600 } as const;

interface Running {
  readonly consumption: Consumption;
  readonly prefetch: number;
}

export function createConsumptions(parts: ConsumptionsParts): Consumptions {
  const running = new Map<string, Running>();
  /** Consumptions that wait for their messages in flight. */
  const ending = new Set<Promise<void>>();
  /** Queues asked of the broker and not answered yet: a second consumption of the same queue would never be stopped. */
  const beginning = new Set<string>();
  let isStopped = false;
  let taken = 0;

  const begin = async (wanted: Wanted): Promise<void> => {
    beginning.add(wanted.queue);
    await consume(wanted).finally(() => beginning.delete(wanted.queue));
  };

  const consume = async ({ queue, prefetch, subscription }: Wanted): Promise<void> => {
    const consumption = await parts.broker.consume({
      queue,
      prefetch,
      onMessage: (delivery) => {
        taken++;
        parts.take(delivery, subscription);
      },
    });
    if (isStopped) return consumption.stop(0);
    running.set(queue, { consumption, prefetch });
    void consumption.ended.then(() => {
      if (running.get(queue)?.consumption === consumption) running.delete(queue);
    });
  };

  const end = (queue: string, graceMs: number): void => {
    const found = running.get(queue);
    running.delete(queue);
    if (!found) return;
    const ended = found.consumption.stop(graceMs).finally(() => ending.delete(ended));
    ending.add(ended);
  };

  return {
    get taken() {
      return taken;
    },
    async reconcile(subscriptions, graceMs = parts.graceMs) {
      if (isStopped || parts.broker.state === 'disconnected') return;
      const wanted = new Map(subscriptions.flatMap(queuesOf).map((each) => [each.queue, each]));
      const isStale = ([queue, { prefetch }]: [string, Running]): boolean =>
        wanted.get(queue)?.prefetch !== prefetch;
      // Not awaited: a webhook that hangs must not hold up what others wait for.
      for (const [queue] of [...running].filter(isStale)) end(queue, graceMs);
      const missing = [...wanted.values()].filter(
        ({ queue }) => !running.has(queue) && !beginning.has(queue),
      );
      await Promise.allSettled(missing.map(begin));
    },
    async stop(graceMs) {
      isStopped = true;
      for (const queue of running.keys()) end(queue, graceMs);
      await Promise.allSettled(ending);
    },
  };
}
