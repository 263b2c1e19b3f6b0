/**
 * A process dies at each step of ordered delivery, just before the call and just after it, on real RabbitMQ and
 * Postgres. A fresh host takes over, and every lane must have been heard whole, in order, with one effect each.
 */
import { describe, expect, test } from 'vitest';
import type { Order } from '../../shared/message/message.ts';
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
  'fresh lanes': ['store.commit', 'broker.publish', 'store.arrive', 'delivery.ack'],
  'lanes that wait': ['store.claimStreams', 'store.loadStreams', 'courier.carry', 'store.step'],
  'fresh sequences': ['store.commit', 'store.gather', 'delivery.ack', 'store.step'],
  'sequences that lack an item': ['store.missing', 'broker.publish', 'store.changeAssembly', 'store.step'],
} as const;
type Work = keyof typeof works;
const moments: readonly Moment[] = ['before', 'after'];
const crashes = (Object.keys(works) as Work[]).flatMap((work) =>
  works[work].flatMap((step) => moments.map((moment) => ({ work, step, moment }))),
);

describe.concurrent('a host that dies', () => {
  test.each(crashes)('with $work, $moment $step, keeps every order', async ({ work, step, moment }) => {
    const one = await openOneSet(stack);
    try {
      const offers = groupsOf(one, work);
      if (work === 'lanes that wait') await waitInStore(one, offers);
      if (work === 'sequences that lack an item') await lackInStore(one, offers);
      const isFresh = work.startsWith('fresh');
      const life = liveUntil({ step, moment });
      const first = one.start({ life });
      // Each lane's publisher waits for one answer before it sends the next, to another host if need be.
      const publishing = offers.map(async (lane) => {
        const units = work === 'fresh sequences' ? [lane] : lane.map((offer) => [offer]);
        for (const unit of isFresh ? units : []) await accept(one, first, life.over, unit);
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
  });
});

/** Offers under the same id until a host answers. */
async function accept(
  one: OneSet,
  first: ReturnType<OneSet['start']>,
  over: Promise<void>,
  unit: readonly Offer[],
): Promise<void> {
  const by = async (host: ReturnType<OneSet['start']>): Promise<boolean> => {
    await host.accept(unit, { waitMs: 0 });
    return true;
  };
  const isAccepted = await Promise.race([by(first), over.then(() => false)]);
  if (!isAccepted) await by(one.start());
}

function groupsOf(one: OneSet, work: Work): readonly (readonly Offer[])[] {
  const isLane = work.endsWith('lanes') || work.startsWith('lanes');
  // Short only where the deadline is what is waited for.
  const deadlineMs = work === 'sequences that lack an item' ? 1_000 : 600_000;
  return lanes.map((lane) =>
    Array.from({ length: perLane }, (_, index) => {
      const sequence = {
        session: lane,
        sequence: index + 1,
        size: perLane,
        deadlineMs,
        onGap: 'skip',
      } as const;
      return one.newOffer({ order: isLane ? { kind: 'lane', lane } : { kind: 'sequence', ...sequence } });
    }),
  );
}

/** All are stored and confirmed; the second of each is lost behind the broker. */
async function lackInStore(one: OneSet, offers: readonly (readonly Offer[])[]): Promise<void> {
  for (const group of offers) {
    const { lease } = await one.store.commit(group, { set, resendAfterMs: 60_000 });
    const confirmed = group.map(({ message }) => message.id);
    if (lease)
      await one.store.settle({ lease, confirmed, unroutable: [], failed: [], again: [], againAfterMs: 0 });
  }
  const arrivals = offers.flatMap((group) =>
    group.flatMap(({ message }, index) =>
      index === 1 || message.order?.kind !== 'sequence'
        ? []
        : groups.map((subscription) => ({
            messageId: message.id,
            subscription,
            stream: streamOf('session', message.topic, lanes[offers.indexOf(group)] ?? ''),
            item: { ...(message.order as Extract<Order, { kind: 'sequence' }>), fingerprint: message.id },
          })),
    ),
  );
  await one.store.gather(arrivals, { set, host: 'earlier' });
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
