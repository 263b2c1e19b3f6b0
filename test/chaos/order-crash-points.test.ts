/**
 * A process dies at each step of ordered delivery, just before the call and just after it, on real RabbitMQ and
 * Postgres. A fresh host takes over, and every lane must have been heard whole, in order, with one effect each.
 */
import { describe, expect, test } from 'vitest';
import type { Offer } from '../../shared/sets/set-link.ts';
import { streamOf } from '../../shared/ordering/stream-name.ts';
import { useStack } from '../stack/current-stack.ts';
import { liveUntil, type Moment } from './mortal.ts';
import { groups, openOneSet, set, settled, type OneSet } from './one-set.ts';
import { deadline } from './deadline.ts';

const stack = useStack();
const lanes = ['a', 'b', 'c'] as const;
const perLane = 3;

/** The first call of a step must belong to the work that is meant, so each work stands alone. */
const works = {
  'fresh lanes': [
    'store.commit',
    'broker.publish',
    'store.settle',
    'store.arrive',
    'delivery.ack',
    'store.loadStreams',
    'courier.carry',
    'store.step',
  ],
  'lanes that wait': [
    'store.claimStreams',
    'store.loadStreams',
    'courier.carry',
    'store.step',
    'store.arrive',
  ],
} as const;
type Work = keyof typeof works;
const moments: readonly Moment[] = ['before', 'after'];
const crashes = (Object.keys(works) as Work[]).flatMap((work) =>
  works[work].flatMap((step) => moments.map((moment) => ({ work, step, moment }))),
);

describe.concurrent('a host that dies', () => {
  test.each(crashes)(
    'with $work, $moment $step, keeps every lane in order',
    async ({ work, step, moment }) => {
      const one = await openOneSet(stack);
      try {
        const isWaiting = work === 'lanes that wait';
        const offers = lanes.map((lane) =>
          Array.from({ length: perLane }, () => one.newOffer({ order: { kind: 'lane', lane } })),
        );
        if (isWaiting) await waitInStore(one, offers);
        const life = liveUntil({ step, moment });
        const first = one.start({ life });
        // Each lane's publisher waits for one answer before it sends the next, to another host if need be.
        const publishing = offers.map(async (lane) => {
          for (const offer of isWaiting ? [] : lane) await accept(one, first, life.over, offer);
        });
        await deadline(life.over, `${moment} ${step} was never reached`);
        one.start();
        await Promise.all(publishing);
        await settled(
          one,
          offers.flat().map(({ message }) => message.id),
        );
        expectOrder(one, offers);
      } finally {
        await one.close();
      }
    },
  );
});

/** Offers under the same id until a host answers. */
async function accept(
  one: OneSet,
  first: ReturnType<OneSet['start']>,
  over: Promise<void>,
  offer: Offer,
): Promise<void> {
  const by = async (host: ReturnType<OneSet['start']>): Promise<boolean> => {
    await host.accept([offer], { waitMs: 0 });
    return true;
  };
  const isAccepted = await Promise.race([by(first), over.then(() => false)]);
  if (!isAccepted) await by(one.start());
}

async function waitInStore(one: OneSet, offers: readonly (readonly Offer[])[]): Promise<void> {
  for (const lane of offers) await one.store.commit(lane, { set, resendAfterMs: 0 });
  const arrivals = offers.flat().flatMap(({ message }) =>
    groups.map((subscription) => ({
      messageId: message.id,
      subscription,
      stream: streamOf('lane', message.topic, message.order?.kind === 'lane' ? message.order.lane : ''),
    })),
  );
  await one.store.arrive(arrivals, set);
}

function expectOrder(one: OneSet, offers: readonly (readonly Offer[])[]): void {
  for (const lane of offers) {
    const ids = lane.map(({ message }) => message.id as string);
    for (const group of groups) {
      const heard = one.heard.filter((each) => each.group === group && ids.includes(each.id));
      expect(heard.map(({ id }) => id)).toEqual(ids);
    }
  }
}
