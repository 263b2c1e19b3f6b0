/** Several hosts of one SET, at once or one after the other: the agenda's leases keep them out of each other's way. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import type { Courier, Dispatch } from '../../shared/delivery/courier.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/part.ts';
import { groups, openOneSet, set, settled, type OneSet } from './one-set.ts';

const stack = useStack();
let one: OneSet;

beforeEach(async () => {
  one = await openOneSet(stack);
});
afterEach(async () => {
  await one.close();
});

const by = { set, host: 'earlier' };

/** Messages whose first delivery to both groups failed; the next try is due now. */
async function failedOnce(amount: number): Promise<readonly Offer[]> {
  const offers = await Promise.all(Array.from({ length: amount }, () => one.commitOnly()));
  const entries = await one.store.claim({ set, kind: 'send', limit: 1_000, leaseMs: 60_000 });
  const ids = offers.map(({ message }) => message.id);
  for (const lease of entries)
    await one.store.settle({ lease, confirmed: ids, unroutable: [], failed: [], again: [], againAfterMs: 0 });
  const failure = {
    attempt: 1,
    state: 'RETRY',
    status: 503,
    error: 'busy',
    durationMs: 1,
    retryAfterMs: 0,
  } as const;
  const outcomes = ids.flatMap((messageId) =>
    groups.map((subscription) => ({ ...failure, messageId, subscription })),
  );
  await one.store.record(outcomes, by);
  return offers;
}

function effectsOf(offers: readonly Offer[]): readonly (number | undefined)[] {
  return offers.flatMap(({ message }) => groups.map((group) => one.effects.get(`${group}/${message.id}`)));
}

function once(offers: readonly Offer[]): readonly number[] {
  return offers.flatMap(() => groups.map(() => 1));
}

async function attemptsPerDelivery(): Promise<ReadonlySet<number>> {
  const rows = await one.sql`SELECT count(*)::int AS n FROM attempt GROUP BY message_id, subscription`;
  return new Set(rows.map((row) => Number(row['n'])));
}

describe('two hosts at once', () => {
  test('share the retries that are due: each is tried by one of them', async () => {
    const offers = await failedOnce(200);
    const patient = { timing: { slotWaitMs: 60_000 } };
    one.start(patient);
    one.start(patient);
    await settled(
      one,
      offers.map(({ message }) => message.id),
    );
    expect(effectsOf(offers)).toEqual(once(offers));
    // The failure they began with, and one try.
    expect(await attemptsPerDelivery()).toEqual(new Set([2]));
  });
});

describe('a host that does not know a subscription', () => {
  test('leaves its retries to one that does: nothing is given up before the catalog was read', async () => {
    const offers = await failedOnce(1);
    const { promise: isRead, resolve: read } = Promise.withResolvers<Catalog>();
    one.start({ catalog: { current: () => isRead } });
    // Long enough for several claims, if it did claim: the entries must outlive them.
    await until(async () => {
      const rows = await one.sql`SELECT now() - min(updated_at) > interval '1 second' AS late FROM delivery`;
      if (rows[0]?.['late'] !== true) throw new Error('not yet');
    }, 5_000);
    const [row] = await one.sql`SELECT count(*)::int AS n FROM agenda WHERE kind = 'redeliver'`;
    expect(row?.['n']).toBe(groups.length);
    read(one.catalog);
    await settled(
      one,
      offers.map(({ message }) => message.id),
    );
    expect(effectsOf(offers)).toEqual(once(offers));
  });

  test('with an older catalog leaves them to one with a newer', async () => {
    const offers = await failedOnce(1);
    const older = { ...one.catalog, subscriptions: new Map() };
    const host = one.start({ catalog: { current: async () => older } });
    await host.handleDue('redeliver', { maxMs: 2_000, maxItems: 10 });
    const [row] = await one.sql`SELECT count(*)::int AS n FROM agenda WHERE kind = 'redeliver'`;
    expect(row?.['n']).toBe(offers.length * groups.length);
  });
});

describe('a worker whose lease is over', () => {
  test('changes nothing when it comes back with a failure', async () => {
    const offers = await failedOnce(1);
    const [{ message }] = offers as [Offer];
    const claim = { set, kind: 'redeliver', limit: 1, leaseMs: 0 } as const;
    const [stale] = await one.store.claim(claim);
    if (!stale) throw new Error('There was nothing to claim.');
    const key = { messageId: message.id, subscription: stale.subscription ?? '' };
    const [held] = await one.store
      .claim({ ...claim, leaseMs: 60_000, limit: 10 })
      .then((all) => all.filter(({ entry }) => entry === stale.entry));
    const late = { ...key, attempt: 2, status: null, error: 'No answer', durationMs: 1, retryAfterMs: 0 };
    await one.store.record([{ ...late, state: 'DEAD', lease: stale }], by);
    await one.store.finish([stale]);
    await one.store.release([stale], 0);
    expect(await one.store.deliveries([key])).toMatchObject([{ state: 'RETRY', attempts: 1 }]);
    if (!held) throw new Error('The second claim got nothing.');
    await one.store.record([{ ...late, state: 'DONE', status: 200, error: null, lease: held }], by);
    expect(await one.store.deliveries([key])).toMatchObject([{ state: 'DONE', attempts: 2 }]);
  });

  test('does not begin a call that would outlast its lease', async () => {
    const offers = await failedOnce(3);
    const calls: Dispatch[] = [];
    const gate = Promise.withResolvers<void>();
    const slow: Courier = {
      sliceSize: 1,
      ask: (check) => one.courier.ask(check),
      tell: (notice) => one.courier.tell(notice),
      carry: async (slice) => {
        calls.push(...slice);
        await gate.promise;
        return one.courier.carry(slice);
      },
    };
    const narrow = [...one.catalog.subscriptions].map(
      ([name, subscription]) => [name, { ...subscription, concurrency: 1 }] as const,
    );
    const catalog = { ...one.catalog, subscriptions: new Map(narrow) };
    one.start({ courier: slow, catalog: { current: async () => catalog } });
    await until(async () => {
      if (calls.length < groups.length) throw new Error('no call yet');
    }, 5_000);
    // The one slot of each group is taken for longer than a claim lives; another host has done the rest meanwhile.
    one.start();
    await until(async () => {
      const [row] = await one.sql`SELECT count(*)::int AS n FROM delivery WHERE state = 'DONE'`;
      if (row?.['n'] !== offers.length * groups.length) throw new Error(`done: ${row?.['n']}`);
    }, 20_000);
    gate.resolve();
    await settled(
      one,
      offers.map(({ message }) => message.id),
    );
    expect(effectsOf(offers)).toEqual(once(offers));
    expect(calls).toHaveLength(groups.length);
  });
});
