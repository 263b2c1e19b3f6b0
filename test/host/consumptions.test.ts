import { describe, expect, it } from 'vitest';
import type { Broker, ConsumeOptions, Consumption } from '../../shared/broker/broker.ts';
import { createConsumptions } from '../../shared/host/consumptions.ts';
import type { Subscription } from '../../shared/subscriptions/subscription.ts';

const inventory: Subscription = {
  name: 'inventory',
  owner: 'shop',
  topic: 'orders',
  endpoint: { function: 'inventory' },
  bindings: ['#'],
  format: 'raw',
  concurrency: 4,
  timeoutMs: 1_000,
  retryDelaysMs: [],
  secrets: [],
  status: 'active',
};

/** The part of a broker that is asked here; a consumption begins when the test says so. */
function openBroker() {
  const begun: ConsumeOptions[] = [];
  const stopped: string[] = [];
  const endings: (() => void)[] = [];
  let gate = Promise.resolve();
  const broker = {
    state: 'connected',
    async consume(options: ConsumeOptions): Promise<Consumption> {
      begun.push(options);
      const ended = Promise.withResolvers<void>();
      endings.push(ended.resolve);
      await gate;
      return { ended: ended.promise, stop: async () => void stopped.push(options.queue) };
    },
  } as unknown as Broker;
  const hold = (): (() => void) => {
    const held = Promise.withResolvers<void>();
    gate = held.promise;
    return held.resolve;
  };
  return { broker, begun, stopped, endings, hold };
}

describe('consumptions', () => {
  it('begins one per queue of a subscription, though it is asked again while that begins', async () => {
    const { broker, begun, stopped, hold } = openBroker();
    const consumptions = createConsumptions({ broker, graceMs: 0, take: () => undefined });
    const release = hold();
    const asked = [consumptions.reconcile([inventory]), consumptions.reconcile([inventory])];
    release();
    await Promise.all(asked);
    await consumptions.reconcile([inventory]);
    expect(begun).toMatchObject([
      { queue: 'setway.sub.inventory', prefetch: 8 },
      { queue: 'setway.high.sub.inventory', prefetch: 8 },
    ]);
    await consumptions.stop(0);
    expect(stopped).toEqual(['setway.sub.inventory', 'setway.high.sub.inventory']);
  });

  it('begins anew what the broker ended, with another prefetch, and stops what is not wanted', async () => {
    const { broker, begun, stopped, endings } = openBroker();
    const consumptions = createConsumptions({ broker, graceMs: 0, take: () => undefined });
    await consumptions.reconcile([inventory]);
    endings[0]?.();
    await Promise.resolve();
    await consumptions.reconcile([inventory]);
    await consumptions.reconcile([{ ...inventory, concurrency: 5 }]);
    expect(begun.map(({ prefetch }) => prefetch)).toEqual([8, 8, 8, 10, 10]);
    await consumptions.reconcile([]);
    expect(stopped).toHaveLength(4);
    await consumptions.stop(0);
    await consumptions.reconcile([inventory]);
    expect(begun).toHaveLength(5);
  });

  it('tries again at the next call what could not begin', async () => {
    const { broker, begun } = openBroker();
    let failures = 1;
    const failing = {
      ...broker,
      consume: (options: ConsumeOptions) =>
        failures-- > 0 ? Promise.reject(new Error('no such queue')) : broker.consume(options),
    };
    const consumptions = createConsumptions({ broker: failing, graceMs: 0, take: () => undefined });
    await consumptions.reconcile([inventory]);
    expect(begun.map(({ queue }) => queue)).toEqual(['setway.high.sub.inventory']);
    await consumptions.reconcile([inventory]);
    expect(begun.map(({ queue }) => queue)).toEqual(['setway.high.sub.inventory', 'setway.sub.inventory']);
  });
});
