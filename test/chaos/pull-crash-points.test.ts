/**
 * A host dies between any two steps of a pull, on real RabbitMQ and Postgres. Another one takes over: every message is
 * handed out until it is done, and never twice as the same try, which would be two pullers with one message.
 */
import { describe, expect, test } from 'vitest';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import type { SetHost } from '../../shared/host/set-host.ts';
import type { PulledMessage } from '../../shared/sets/pull.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';
import { deadline } from './deadline.ts';
import { liveUntil, type Moment } from './mortal.ts';
import { openOneSet, type OneSet } from './one-set.ts';

const stack = useStack();
const subscription = 'jobs';
const leaseMs = 1_000;

const steps = ['broker.take', 'store.record', 'delivery.ack', 'store.lease', 'store.answer'];
const moments: readonly Moment[] = ['before', 'after'];
const crashes = steps.flatMap((step) => moments.map((moment) => ({ step, moment })));

function pulledOnly({ catalog }: OneSet): Catalog {
  const [webhook] = catalog.subscriptions.values();
  if (!webhook) throw new RangeError('The catalog lacks a group.');
  const { endpoint: _, ...shared } = webhook;
  const own = { ...shared, name: subscription, kind: 'pull', secrets: [] } as const;
  return { ...catalog, subscriptions: new Map([[subscription, own]]) };
}

describe.concurrent('a host that dies while it is pulled from', () => {
  test.each(crashes)('$moment $step loses nothing and leases nothing twice', async ({ step, moment }) => {
    const one = await openOneSet(stack);
    try {
      const catalog = { current: async () => pulledOnly(one) };
      const life = liveUntil({ step, moment });
      const first = one.start({ life, catalog });
      const offers = Array.from({ length: 6 }, () => one.newOffer());
      await first.ready(5_000);
      await first.accept(offers, { waitMs: 2_000 });
      const handed: PulledMessage[] = [];
      // Whoever is dead never answers, so this waits for the end of the life or of the test.
      void until(20_000, () => pullAndFinish(first, handed, 4).then(() => life.isOver)).catch(
        () => undefined,
      );
      await deadline(life.over, `${moment} ${step} was never reached`);
      const second = one.start({ catalog });
      await second.ready(5_000);
      await until(30_000, async () => {
        await pullAndFinish(second, handed, 4);
        const [row] = await one.sql`SELECT count(*)::int AS done FROM delivery WHERE state = 'DONE'`;
        return row?.['done'] === offers.length;
      });
      const tries = handed.map(({ message, attempt }) => `${message.id} ${attempt}`);
      expect(new Set(tries).size).toBe(tries.length);
      expect(new Set(handed.map(({ message }) => message.id)).size).toBeLessThanOrEqual(offers.length);
      const left = await one.sql`SELECT kind FROM agenda WHERE kind <> 'send'`;
      expect(left).toEqual([]);
    } finally {
      await one.close();
    }
  });
});

/** Acks one at a time, as a puller does that works on what it got. */
async function pullAndFinish(host: SetHost, handed: PulledMessage[], max: number): Promise<void> {
  const pulled = await host.pull({ subscription, max, leaseMs });
  handed.push(...pulled);
  for (const { message, attempt } of pulled)
    await host.answer([{ messageId: message.id, subscription, attempt, says: 'done' }]);
}
