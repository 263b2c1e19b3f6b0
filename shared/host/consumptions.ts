/**
 * Keeps one consumption per active subscription of a SET: begins those that are missing, stops those whose
 * subscription was paused or removed, and begins anew where the broker ended one (channel or connection lost).
 */
import type { Broker, Consumption, InboundDelivery } from '../broker/broker.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { queueOf } from '../topology/names.ts';

export interface ConsumptionsParts {
  readonly broker: Broker;
  readonly take: (delivery: InboundDelivery, subscription: string) => void;
  /** For the messages in flight of a subscription that goes. */
  readonly graceMs: number;
}

export interface Consumptions {
  /** Makes what is consumed equal to these subscriptions. Never rejects: what fails is tried at the next call. */
  reconcile(wanted: readonly Subscription[]): Promise<void>;
  /** Messages handed out so far. */
  readonly taken: number;
  stop(graceMs: number): Promise<void>;
}

/** Twice what runs: the next messages are here before a slot is free, and another host still finds work. */
function prefetchOf(subscription: Subscription): number {
  return Math.min(subscription.concurrency * 2, 2000);
}

interface Running {
  readonly consumption: Consumption;
  readonly prefetch: number;
}

export function createConsumptions(parts: ConsumptionsParts): Consumptions {
  const running = new Map<string, Running>();
  /** Names asked of the broker and not answered yet: a second consumption of the same queue would never be stopped. */
  const beginning = new Set<string>();
  let isStopped = false;
  let taken = 0;

  const begin = async (subscription: Subscription): Promise<void> => {
    const { name } = subscription;
    beginning.add(name);
    await consume(subscription).finally(() => beginning.delete(name));
  };

  const consume = async (subscription: Subscription): Promise<void> => {
    const { name } = subscription;
    const prefetch = prefetchOf(subscription);
    const consumption = await parts.broker.consume({
      queue: queueOf(name),
      prefetch,
      onMessage: (delivery) => {
        taken++;
        parts.take(delivery, name);
      },
    });
    if (isStopped) return consumption.stop(0);
    running.set(name, { consumption, prefetch });
    void consumption.ended.then(() => {
      if (running.get(name)?.consumption === consumption) running.delete(name);
    });
  };

  const end = async (name: string, graceMs: number): Promise<void> => {
    const found = running.get(name);
    running.delete(name);
    await found?.consumption.stop(graceMs);
  };

  return {
    get taken() {
      return taken;
    },
    async reconcile(wanted) {
      if (isStopped || parts.broker.state === 'disconnected') return;
      const names = new Map(wanted.map((subscription) => [subscription.name, subscription]));
      const isStale = ([name, { prefetch }]: [string, Running]): boolean => {
        const subscription = names.get(name);
        return !subscription || prefetchOf(subscription) !== prefetch;
      };
      await Promise.allSettled([...running].filter(isStale).map(([name]) => end(name, parts.graceMs)));
      const missing = wanted.filter(({ name }) => !running.has(name) && !beginning.has(name));
      await Promise.allSettled(missing.map(begin));
    },
    async stop(graceMs) {
      isStopped = true;
      await Promise.allSettled([...running.keys()].map((name) => end(name, graceMs)));
    },
  };
}
