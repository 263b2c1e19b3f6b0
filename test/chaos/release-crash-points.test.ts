/**
 * A host that releases delayed messages dies at every step between the claim and the record, just before the call and
 * just after it. A fresh host takes over: every message is sent, once to each consumer group, and none before its time.
 */
import { describe, expect, test } from 'vitest';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';
import { deadline } from './deadline.ts';
import { liveUntil, type Moment } from './mortal.ts';
import { groups, openOneSet, set, settled, type OneSet } from './one-set.ts';

const stack = useStack();
const steps = [
  'store.claimReleases',
  'store.makeReady',
  'broker.publish',
  'store.settle',
  'courier.carry',
  'store.record',
  'delivery.ack',
] as const;
const moments: readonly Moment[] = ['before', 'after'];
const crashes = steps.flatMap((step) => moments.map((moment) => ({ step, moment })));

describe.concurrent('a host that dies releasing what is due', () => {
  test.each(crashes)('$moment $step loses, repeats and hurries nothing', async ({ step, moment }) => {
    const one = await openOneSet(stack);
    try {
      // Two in one entry, one in its own, and one that waits longer than the first host lives.
      const due = [await commitDelayed(one, 200, 2), await commitDelayed(one, 201, 1)].flat();
      await until(5_000, () => areDue(one));
      const waiting = await commitDelayed(one, 2_000, 1);
      const life = liveUntil({ step, moment });
      one.start({ life });
      await deadline(life.over, `${moment} ${step} was never reached`);
      one.start();
      const ids = [...due, ...waiting];
      await settled(one, ids);
      const effects = ids.flatMap((id) => groups.map((group) => one.effects.get(`${group}/${id}`)));
      expect(effects).toEqual(effects.map(() => 1));
      const [row] = await one.sql`
        SELECT count(*)::int AS released, bool_and(e.at >= m.deliver_at AND m.confirmed_at >= m.deliver_at) AS in_time
        FROM message_event e JOIN message m ON m.id = e.message_id WHERE e.change = 'released'`;
      expect(row).toEqual({ released: ids.length, in_time: true });
    } finally {
      await one.close();
    }
  });
});

async function commitDelayed(one: OneSet, afterMs: number, amount: number) {
  const offers = Array.from({ length: amount }, () => ({ ...one.newOffer(), due: { afterMs } }));
  await one.store.commit(offers, { set, resendAfterMs: 1_000 });
  return offers.map(({ message }) => message.id);
}

async function areDue({ sql }: OneSet): Promise<boolean> {
  const [row] = await sql`SELECT bool_and(deliver_at <= now()) AS due FROM message`;
  return row?.['due'] === true;
}
