/**
 * A host that dies at any step of a transaction: of preparing, of deciding, of asking the producer. A fresh host takes
 * over, the producer repeats what was not answered, and all messages of the transaction have one effect each.
 */
import { describe, expect, test } from 'vitest';
import type { Courier } from '../../shared/delivery/courier.ts';
import { originOf, transactionOf } from '../../shared/identifier.ts';
import { siblingOf } from '../../shared/publish/keyed.ts';
import type { Decision, Offer } from '../../shared/sets/set-link.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';
import { liveUntil, type Moment } from './mortal.ts';
import { groups, openOneSet, set, settled, type OneSet } from './one-set.ts';

const stack = useStack();

const works = {
  'a decision by the producer': ['store.commit', 'store.decide', 'broker.publish', 'store.settle'],
  'a decision by a check': ['store.claim', 'store.findTransaction', 'courier.ask', 'store.decide'],
} as const;
type Work = keyof typeof works;
const moments: readonly Moment[] = ['before', 'after'];
const crashes = (Object.keys(works) as Work[]).flatMap((work) =>
  works[work].flatMap((step) => moments.map((moment) => ({ work, step, moment }))),
);

/** Three half messages, under ids as an edge makes them. */
function unitOf(one: OneSet, firstCheckAfterMs: number): readonly Offer[] {
  const { message: first } = one.newOffer();
  const transaction = {
    id: transactionOf(first.id),
    checkUrl: 'https://bank.example.com/c',
    firstCheckAfterMs,
  };
  const idAt = (position: number) =>
    position === 0 ? first.id : siblingOf(first.id, position, originOf(first.id));
  return [0, 1, 2].map((position) => {
    const message = { ...one.newOffer().message, id: idAt(position), priority: 'high' } as const;
    return { message, transaction, unit: first.id };
  });
}

/** The catalog, with a secret on the topic, and a producer that says it has committed. */
function withProducer(one: OneSet): { readonly catalog: OneSet['catalog']; readonly courier: Courier } {
  const topics = new Map(
    [...one.catalog.topics].map(([name, topic]) => [name, { ...topic, secrets: ['x'] }]),
  );
  const ask: Courier['ask'] = async () => ({ state: 'committed' });
  return { catalog: { ...one.catalog, topics }, courier: { ...one.courier, ask } };
}

describe.concurrent('a host that dies in a transaction', () => {
  test.each(crashes)('in $work, $moment $step, tears and repeats nothing', async ({ work, step, moment }) => {
    const one = await openOneSet(stack);
    try {
      const { catalog, courier } = withProducer(one);
      const isChecked = work === 'a decision by a check';
      const unit = unitOf(one, isChecked ? 0 : 600_000);
      const [first] = unit;
      if (isChecked) await one.store.commit(unit, { set, resendAfterMs: 60_000 });
      const life = liveUntil({ step, moment });
      const options = { catalog: { current: async () => catalog }, courier };
      const produce = async (host: ReturnType<OneSet['start']>): Promise<void> => {
        if (isChecked || !first) return;
        await host.accept(unit, { waitMs: 0 });
        await decide(host, first, 'COMMITTED');
      };
      const dying = produce(one.start({ ...options, life }));
      await Promise.race([dying.then(() => life.over), life.over]);
      await produce(one.start(options));
      const ids = unit.map(({ message }) => message.id);
      await settled(one, ids);
      expect(ids.flatMap((id) => groups.map((group) => one.effects.get(`${group}/${id}`)))).toEqual(
        ids.flatMap(() => groups.map(() => 1)),
      );
    } finally {
      await one.close();
    }
  });
});

async function decide(
  host: ReturnType<OneSet['start']>,
  { message }: Offer,
  decision: Decision,
): Promise<void> {
  const request = { id: transactionOf(message.id), owner: message.owner, decision, by: 'producer' };
  const decided = await host.decide(request);
  expect(decided?.state).toBe(decision);
}

describe('a transaction that is decided twice at once', () => {
  test('goes one way with all its messages, whoever comes first', async () => {
    const one = await openOneSet(stack);
    try {
      const host = one.start();
      const units = Array.from({ length: 20 }, () => unitOf(one, 600_000));
      await Promise.all(units.map((unit) => host.accept(unit, { waitMs: 0 })));
      const committed: Offer[] = [];
      for (const unit of units) {
        const [{ message } = unit[0] ?? { message: undefined }] = unit;
        if (!message) continue;
        const ask = (decision: Decision) =>
          host.decide({ id: transactionOf(message.id), owner: message.owner, decision, by: decision });
        const answers = await Promise.all([ask('COMMITTED'), ask('ROLLED_BACK'), ask('COMMITTED')]);
        const [state] = new Set(answers.map((answer) => answer?.state));
        expect(new Set(answers.map((answer) => answer?.state)).size).toBe(1);
        if (state === 'COMMITTED') committed.push(...unit);
      }
      const wanted = committed.length * groups.length;
      await until(20_000, () => one.effects.size === wanted || wanted === 0);
      expect([...one.effects.values()]).toEqual(Array.from({ length: wanted }, () => 1));
      const [row] = await one.sql`SELECT count(*)::int AS n FROM message WHERE state = 'ROLLED_BACK'`;
      expect(row).toEqual({ n: units.length * 3 - committed.length });
    } finally {
      await one.close();
    }
  });
});
