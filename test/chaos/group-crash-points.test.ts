/**
 * A process dies at each step of a bulk, of a batch, and of telling a gap, just before the call and just after it: the edge
 * between its ledger and the SET, the host between its parts. The client repeats its request under the same key, a fresh
 * edge and a fresh host take over, and every message is there once, with one effect on each consumer group.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { systemClock } from '../../shared/clock.ts';
import type { Courier, Notice } from '../../shared/delivery/courier.ts';
import { createRedisPublishLedger } from '../../shared/idempotency/redis-publish-ledger.ts';
import type { PublishLedger } from '../../shared/idempotency/publish-ledger.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { toUuid } from '../../shared/identifier.ts';
import { readBatch } from '../../shared/message/batch-draft.ts';
import { readDraft } from '../../shared/message/draft.ts';
import type { Order } from '../../shared/message/message.ts';
import { streamOf } from '../../shared/ordering/stream-name.ts';
import { createPublisher } from '../../shared/publish/accept.ts';
import type { Publisher, Published } from '../../shared/publish/publisher.ts';
import { createBreaker } from '../../shared/sets/breaker.ts';
import { compileRouteTable } from '../../shared/sets/route-table.ts';
import type { SetLink } from '../../shared/sets/set-link.ts';
import type { Gap } from '../../shared/store/ordered-store.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';
import { deadline } from './deadline.ts';
import { liveUntil, mortal, type Life, type Moment } from './mortal.ts';
import { groups, openOneSet, set, settled, type OneSet } from './one-set.ts';

const stack = useStack();
const requester = upstashRequester(stack.redisUrl);
afterAll(() => requester.close());

const moments: readonly Moment[] = ['before', 'after'];
const steps = [
  'ledger.reserve',
  'link.accept',
  'ledger.finish',
  'store.commit',
  'broker.publish',
  'store.settle',
  'courier.carry',
  'store.record',
  'delivery.ack',
] as const;
const modes = ['bulk', 'batch'] as const;
const crashes = modes.flatMap((mode) =>
  steps.flatMap((step) => moments.map((moment) => ({ mode, step, moment }))),
);

/** An edge and the host behind it: one process, which may die. */
function open(one: OneSet, life?: Life): Publisher {
  const host = one.start(life ? { life } : {});
  // An attempt that never came back is taken up again soon.
  const real = createRedisPublishLedger(connectRedis({ requester }));
  const ledger: PublishLedger = { ...real, reserve: (key, claim) => real.reserve(key, claim, 300) };
  const lives = life ?? liveUntil();
  const table = compileRouteTable({
    version: 1,
    sets: [
      {
        id: set,
        number: 1,
        kind: 'unit',
        place: { latitude: 30, longitude: 120 },
        weight: 1,
        status: 'active',
        shards: 1,
      },
    ],
    buckets: [],
    pins: [],
    health: {},
  });
  const link = mortal<SetLink>(host, 'link', { life: lives, steps: ['accept'] });
  return createPublisher({
    catalog: { current: async () => ({ ...one.catalog, table }) },
    link: () => link,
    breaker: createBreaker({ clock: systemClock, random: Math.random }),
    ledger: mortal(ledger, 'ledger', { life: lives, steps: ['reserve', 'finish'] }),
    clock: systemClock,
    telemetry: createTelemetry(),
    acceptTimeoutMs: 5_000,
    acceptDeadlineMs: 8_000,
    idempotencyTtlMs: 60_000,
  });
}

async function publish(
  publisher: Publisher,
  mode: (typeof modes)[number],
  key: string,
): Promise<readonly Published[]> {
  const idempotency = { key, fingerprint: key };
  const context = { owner: 'acme', waitMs: 0, idempotency };
  const nowMs = Date.now();
  const messages = [1, 2, 3, 4, 5].map((body) => ({ body }));
  if (mode === 'batch') {
    const draft = readBatch({ topic: 'orders', messages }, { nowMs, maxBodyBytes: 1_048_576, idempotency });
    return [await publisher.publish(draft, context)];
  }
  const drafts = messages.map((message) => readDraft({ topic: 'orders', ...message }, nowMs));
  const results = await publisher.publishMany(drafts, context);
  return results.map((result) => {
    if (result instanceof Error) throw result;
    return result;
  });
}

describe.concurrent('a process that dies', () => {
  test.each(crashes)(
    'with a $mode, $moment $step, loses, tears and repeats nothing',
    async ({ mode, step, moment }) => {
      const one = await openOneSet(stack);
      try {
        const key = crypto.randomUUID();
        const life = liveUntil({ step, moment });
        const first = publish(open(one, life), mode, key);
        const answer = await Promise.race([first, life.over.then(() => undefined)]);
        await deadline(life.over, `${moment} ${step} was never reached`);
        const second = open(one);
        // As a client does that had no answer, or had one and is careful: in flight means to ask again.
        const again = await until(10_000, () => publish(second, mode, key).catch(() => undefined));
        const ids = again.map(({ id }) => id);
        expect((answer ?? again).map(({ id }) => id)).toEqual(ids);
        expect(new Set(ids).size).toBe(mode === 'bulk' ? 5 : 1);
        await settled(one, ids);
        const effects = ids.flatMap((id) => groups.map((group) => one.effects.get(`${group}/${id}`)));
        expect(effects).toEqual(effects.map(() => 1));
      } finally {
        await one.close();
      }
    },
  );
});

describe.concurrent('a host that dies with a gap to tell', () => {
  const tells = ['store.changeAssembly', 'store.loadGapCallbacks', 'store.recordGapTold'] as const;
  const gapCrashes = tells.flatMap((step) => moments.map((moment) => ({ step, moment })));

  test.each(gapCrashes)('$moment $step, tells it all the same, under one id', async ({ step, moment }) => {
    const one = await openOneSet(stack);
    try {
      await gapIn(one);
      const told: Notice[] = [];
      const tell: Courier['tell'] = async (notice) => {
        told.push(notice);
        return { verdict: 'done', status: 200, error: null, durationMs: 1 };
      };
      const topics = new Map(
        [...one.catalog.topics].map(([name, topic]) => [name, { ...topic, secrets: ['x'] }]),
      );
      const options = {
        courier: { ...one.courier, tell },
        catalog: { current: async () => ({ ...one.catalog, topics }) },
      };
      const life = liveUntil({ step, moment });
      one.start({ ...options, life });
      await deadline(life.over, `${moment} ${step} was never reached`);
      one.start(options);
      await until(25_000, async () => {
        const [row] =
          await one.sql`SELECT (SELECT count(*) FROM agenda)::int AS due, (SELECT count(*) FROM gap_callback)::int AS gaps`;
        return row?.['due'] === 0 && row['gaps'] === 0;
      });
      for (const group of groups) {
        const calls = told.filter(({ content }) => (content as Gap).subscription === group);
        expect(calls.length).toBeGreaterThan(0);
        expect(new Set(calls.map(({ id }) => id)).size).toBe(1);
      }
    } finally {
      await one.close();
    }
  });
});

/** A sequence of three whose second is nowhere. */
async function gapIn(one: OneSet): Promise<void> {
  const order = (sequence: number) =>
    ({
      kind: 'sequence',
      session: 's',
      sequence,
      size: 3,
      deadlineMs: 1_000,
      onGap: 'skip',
      gapCallback: 'https://shop.example/gaps',
    }) as const satisfies Order;
  const offers = [1, 2, 3].map((sequence) => one.newOffer({ order: order(sequence) }));
  const { lease } = await one.store.commit(offers, { set, resendAfterMs: 60_000 });
  const confirmed = offers.map(({ message }) => message.id);
  if (lease)
    await one.store.settle({ lease, confirmed, unroutable: [], failed: [], again: [], againAfterMs: 0 });
  const [, lost] = confirmed;
  if (lost) await one.sql`DELETE FROM message WHERE id = ${toUuid(lost)}`;
  const arrivals = [0, 2].flatMap((index) =>
    groups.map((subscription) => ({
      messageId: confirmed[index] ?? '',
      subscription,
      stream: streamOf('session', 'orders', 's'),
      item: { ...order(index + 1), fingerprint: String(index) },
    })),
  );
  await one.store.gather(arrivals as Parameters<OneSet['store']['gather']>[0], { set, host: 'earlier' });
}
