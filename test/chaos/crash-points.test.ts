/**
 * A process may die between any two steps. Here it does: at the first call of each step of a publish and of a delivery,
 * just before the call and just after it, on real RabbitMQ and Postgres. A fresh host takes over, and every accepted
 * message must be there, with one effect on each consumer group.
 */
import { describe, expect, test } from 'vitest';
import type { Offer } from '../../shared/sets/set-link.ts';
import { useStack } from '../stack/current-stack.ts';
import { deadline } from './deadline.ts';
import { liveUntil, type Moment } from './mortal.ts';
import { groups, openOneSet, set, settled, type OneSet } from './one-set.ts';
import { isPushed } from '../../shared/subscriptions/subscription.ts';

const stack = useStack();

/** The first call of a step must belong to the work that is meant, so each work stands alone. */
const works = {
  'a fresh publish': [
    'store.commit',
    'broker.publish',
    'store.settle',
    'courier.carry',
    'store.record',
    'delivery.ack',
  ],
  'due work': [
    'store.claim',
    'store.load',
    'store.deliveries',
    'store.finish',
    'store.nextDueInMs',
    'broker.publish',
    'store.settle',
    'courier.carry',
    'store.record',
    'delivery.ack',
  ],
} as const;
type Work = keyof typeof works;
const moments: readonly Moment[] = ['before', 'after'];
const crashes = (Object.keys(works) as Work[]).flatMap((work) =>
  works[work].flatMap((step) => moments.map((moment) => ({ work, step, moment }))),
);

describe.concurrent('a host that dies', () => {
  test.each(crashes)('in $work, $moment $step, loses and repeats nothing', async ({ work, step, moment }) => {
    const one = await openOneSet(stack);
    try {
      const waiting = work === 'due work' ? await dueWork(one) : [];
      const life = liveUntil({ step, moment });
      const first = one.start({ life });
      const offers = Array.from({ length: work === 'due work' ? 0 : 3 }, () => one.newOffer());
      // The edge offers under the same id until a host answers.
      const answered = offers.map((offer) =>
        Promise.race([accept(first, offer), life.over.then(() => false)]),
      );
      await deadline(life.over, `${moment} ${step} was never reached`);
      const isAccepted = await Promise.all(answered);
      const second = one.start();
      const unanswered = offers.filter((_, index) => isAccepted[index] !== true);
      await Promise.all(unanswered.map((offer) => accept(second, offer)));
      const all = [...waiting, ...offers].map(({ message }) => message.id);
      await settled(one, all);
      const effects = all.flatMap((id) => groups.map((group) => one.effects.get(`${group}/${id}`)));
      expect(effects).toEqual(effects.map(() => 1));
    } finally {
      await one.close();
    }
  });
});

async function accept(host: ReturnType<OneSet['start']>, offer: Offer): Promise<boolean> {
  await host.accept([offer], { waitMs: 0 });
  return true;
}

/** Work for every kind of entry: to be sent, to be tried again, and one whose delivery has ended meanwhile. */
async function dueWork(one: OneSet): Promise<readonly Offer[]> {
  const [unsent, failed, ended] = [await one.commitOnly(), await one.commitOnly(), await one.commitOnly()];
  const by = { set, host: 'earlier' };
  const first = { subscription: 'inventory', attempt: 1, status: 503, error: 'busy', durationMs: 1 } as const;
  const retry = { ...first, state: 'RETRY', retryAfterMs: 0 } as const;
  await one.store.record([{ ...retry, messageId: failed.message.id }], by);
  await one.store.record([{ ...retry, messageId: ended.message.id }], by);
  // Its broker copy was handled meanwhile: the effect is there, the retry's entry is left over.
  const { message } = ended;
  const subscription = one.catalog.subscriptions.get('inventory');
  if (!subscription || !isPushed(subscription)) throw new RangeError('The catalog lacks a group.');
  await one.courier.carry([{ ...subscription, message, set, subscription: 'inventory', attempt: 1 }]);
  await one.store.record(
    [{ ...first, messageId: message.id, state: 'DONE', status: 200, error: null, retryAfterMs: 0 }],
    by,
  );
  return [unsent, failed, ended];
}
