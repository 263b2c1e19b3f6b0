/** A host that dies in a redrive: whoever comes next goes on, every dead letter is tried once, and once only. */
import { describe, expect, test } from 'vitest';
import { mintRedriveId } from '../../shared/identifier.ts';
import type { DeliveryOutcome } from '../../shared/store/delivery-outcome.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';
import { liveUntil } from './mortal.ts';
import { openOneSet, set, settled, type OneSet } from './one-set.ts';

const stack = useStack();
const letters = 3;
/** A step takes as many as fall due within 5 s: here all of them, so that a second step ends it. */
const perSecond = letters / 5;
const of = { owner: 'acme', topics: ['orders'], subscriptions: ['inventory', 'receipt'] };

const crashes = ['store.claim', 'store.stepRedrive', 'store.load', 'store.record'].flatMap((step) =>
  (['before', 'after'] as const).map((moment) => ({ step, moment })),
);

describe.concurrent('a redrive', () => {
  test.each(crashes)('whose host dies $moment $step goes on with the next one', async ({ step, moment }) => {
    const one = await openOneSet(stack);
    try {
      const ids = await deadLetters(one);
      const id = mintRedriveId(Date.now());
      const begin = () =>
        one.store.beginRedrive(set, { id, of, perSecond, selection: { kind: 'dead-letters', filter: {} } });
      await Promise.all([begin(), begin()]);
      const life = liveUntil({ step, moment });
      one.start({ life });
      await life.over;
      one.start();
      await until(25_000, async () => (await one.store.findRedrive(id))?.state === 'DONE');
      await settled(one, ids);
      expect((await one.store.findRedrive(id))?.handled).toBe(letters);
      expect(ids.map((message) => one.effects.get(`inventory/${message}`))).toEqual(ids.map(() => 1));
    } finally {
      await one.close();
    }
  });

  test('two holders of its entry are one: who holds an old lease does nothing', async () => {
    const one = await openOneSet(stack);
    try {
      await deadLetters(one);
      const id = mintRedriveId(Date.now());
      const selection = { kind: 'dead-letters', filter: {} } as const;
      await one.store.beginRedrive(set, { id, of, perSecond, selection });
      const claim = () => one.store.claim({ set, kind: 'redrive', limit: 1, leaseMs: 0 });
      const [[stale], [held]] = [await claim(), await claim()];
      if (!stale || !held) throw new Error('Nothing was claimed.');
      const by = { set, host: 'test' };
      const steps = await Promise.all([
        one.store.stepRedrive(by, { ...stale, id }),
        one.store.stepRedrive(by, { ...held, id }),
        one.store.stepRedrive(by, { ...held, id }),
      ]);
      expect(steps.reduce((sum, { handled }) => sum + handled, 0)).toBe(letters);
      expect(steps[0]?.handled).toBe(0);
      const entries =
        await one.sql`SELECT kind, count(*)::int AS count FROM agenda GROUP BY kind ORDER BY kind`;
      expect(entries).toEqual([
        { kind: 'redeliver', count: letters },
        { kind: 'redrive', count: 1 },
      ]);
    } finally {
      await one.close();
    }
  });
});

/** Messages that were confirmed and taken by one group, while the other's webhook refused them. */
async function deadLetters(one: OneSet) {
  const offers = Array.from({ length: letters }, () => one.newOffer());
  const ids = offers.map(({ message }) => message.id);
  const { lease } = await one.store.commit(offers, { set, resendAfterMs: 60_000 });
  if (!lease) throw new Error('Nothing was committed.');
  await one.store.settle({ lease, confirmed: ids, unroutable: [], failed: [], again: [], againAfterMs: 0 });
  const outcomes = ids.flatMap((messageId): DeliveryOutcome[] => {
    const shared = { messageId, attempt: 1, error: null, durationMs: 1, retryAfterMs: 0 };
    return [
      { ...shared, subscription: 'inventory', state: 'DEAD', status: 400 },
      { ...shared, subscription: 'receipt', state: 'DONE', status: 200 },
    ];
  });
  await one.store.record(outcomes, { set, host: 'earlier' });
  return ids;
}
