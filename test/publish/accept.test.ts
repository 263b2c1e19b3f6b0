import { expect, test } from 'vitest';
import type { LedgerEntry, PublishLedger } from '../../shared/idempotency/publish-ledger.ts';
import { originOf } from '../../shared/identifier.ts';
import type { Draft } from '../../shared/message/message.ts';
import { Problem } from '../../shared/problem.ts';
import { createPublisher } from '../../shared/publish/accept.ts';
import type { PublishContext, Publisher } from '../../shared/publish/publisher.ts';
import { compileRouteTable, withHealth } from '../../shared/sets/route-table.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const sets = [
  { id: 'hangzhou', number: 1, kind: 'unit', place: { latitude: 30.25, longitude: 120.17 } },
  { id: 'frankfurt', number: 2, kind: 'unit', place: { latitude: 50.11, longitude: 8.68 } },
  { id: 'virginia', number: 3, kind: 'unit', place: { latitude: 39.04, longitude: -77.49 } },
].map((set) => ({ ...set, weight: 1, status: 'active', shards: 1 }));
const allUp = compileRouteTable({ version: 1, sets, buckets: [], pins: [], health: {} });
const topic: Topic = { name: 'orders', owner: 'shop', type: 'fanout', scope: 'anywhere', rules: ['nearest'] };
const nearHangzhou = { latitude: 31.2, longitude: 121.5 };

interface Edge {
  readonly publisher: Publisher;
  readonly offers: Offer[];
}

/** An edge with its own ledger; its links store whatever they are offered. */
function openEdge(
  ledger: PublishLedger,
  clock: FakeClock,
  table = allUp,
  fault: () => Promise<void> = () => Promise.resolve(),
): Edge {
  const offers: Offer[] = [];
  const publisher = createPublisher({
    catalog: {
      current: () =>
        Promise.resolve({
          version: 1,
          topics: new Map([[topic.name, topic]]),
          subscriptions: new Map(),
          sets: new Map(table.sets.map((set) => [set.id, set])),
          access: new Map(),
          keys: new Map(),
          outboxes: [],
          table,
        }),
    },
    link: () => ({
      accept: async (offered) => {
        await fault();
        offers.push(...offered);
        return offered.map(({ message }) => ({ id: message.id, state: 'READY', duplicate: false }));
      },
      find: () => Promise.resolve(undefined),
      search: async () => [],
      deadLetters: async () => [],
      redrive: async () => [],
      findRedrive: async () => [],
      replay: async () => undefined,
      decide: () => Promise.resolve(undefined),
      findTransaction: () => Promise.resolve(undefined),
      sequence: async () => undefined,
      createSchedule: () => Promise.reject(new Error('not asked')),
      findSchedule: async () => undefined,
      listSchedules: async () => [],
      changeSchedule: async () => undefined,
      answer: () => Promise.reject(new Error('not asked')),
      stopped: () => Promise.reject(new Error('not asked')),
      enable: () => Promise.reject(new Error('not asked')),
      tryOut: () => Promise.reject(new Error('not asked')),
      follow: () => Promise.reject(new Error('not asked')),
      pull: () => Promise.reject(new Error('not asked')),
      awaitMessages: () => Promise.reject(new Error('not asked')),
      status: () => Promise.reject(new Error('not asked')),
      cancel: () => Promise.reject(new Error('not asked')),
      move: () => Promise.reject(new Error('not asked')),
      scheduled: () => Promise.reject(new Error('not asked')),
    }),
    breaker: {
      usable: () => true,
      began: () => undefined,
      succeeded: () => undefined,
      failed: () => undefined,
    },
    ledger,
    clock,
    telemetry: createTelemetry(),
    acceptTimeoutMs: 1_000,
    acceptDeadlineMs: 2_500,
    idempotencyTtlMs: 60_000,
  });
  return { publisher, offers };
}

function ledgerThat(reserve: () => Promise<LedgerEntry>): PublishLedger {
  return { reserve, finish: () => Promise.resolve(), release: () => Promise.resolve() };
}

const present = ledgerThat(() => Promise.resolve({ outcome: 'reserved' }));
const away = ledgerThat(() => Promise.reject(new Problem('redis-unavailable', 'It is away.')));

function request(key: string, fingerprint = 'f1'): { draft: Draft; context: PublishContext } {
  return {
    draft: {
      topic: 'orders',
      mode: 'confirm',
      body: Buffer.from('{}'),
      contentType: 'application/json',
      headers: {},
    },
    context: { owner: 'shop', place: nearHangzhou, waitMs: 0, idempotency: { key, fingerprint } },
  };
}

async function publish(edge: Edge, key: string, fingerprint?: string): Promise<string> {
  const { draft, context } = request(key, fingerprint);
  return (await edge.publisher.publish(draft, context)).id;
}

test('a retry is the same message whether the ledger was there, away, or back again', async () => {
  const clock = new FakeClock();
  const first = await publish(openEdge(present, clock), 'order-1');
  await clock.move(3_000);
  const meanwhile = await publish(openEdge(away, clock), 'order-1');
  await clock.move(3_000);
  // Redis came back empty, so to it the key is new.
  expect([meanwhile, await publish(openEdge(present, clock), 'order-1')]).toEqual([first, first]);
});

test('a retry is the same message although its nearest SET is down by now', async () => {
  const clock = new FakeClock();
  const first = await publish(openEdge(present, clock), 'order-1');
  const later = openEdge(away, clock, withHealth(allUp, { hangzhou: 'down' }));
  expect(await publish(later, 'order-1')).toBe(first);
});

test('the id of a message with a key names the SET nearest to its publisher', async () => {
  const edge = openEdge(present, new FakeClock());
  await publish(edge, 'order-1');
  expect(edge.offers.map(({ message }) => originOf(message.id).setNumber)).toEqual([1]);
});

test('other keys and other requests are other messages', async () => {
  const edge = openEdge(present, new FakeClock());
  const ids = [
    await publish(edge, 'order-1'),
    await publish(edge, 'order-2'),
    await publish(edge, 'order-1', 'f2'),
  ];
  expect(new Set(ids).size).toBe(3);
});

test('a copy of a request under way may ask again soon, not only after the lease', async () => {
  const busy = ledgerThat(() => Promise.resolve({ outcome: 'in-flight', retryAfterMs: 9_900 }));
  await expect(publish(openEdge(busy, new FakeClock()), 'order-1')).rejects.toMatchObject({
    kind: 'in-flight',
    extras: { retryAfterSeconds: 1 },
  });
});

test('a request that no SET took lets its retry go on at once', async () => {
  const released: string[] = [];
  const ledger: PublishLedger = {
    ...present,
    release: (_key, claim) => Promise.resolve(void released.push(claim.id)),
  };
  const edge = openEdge(ledger, new FakeClock(), allUp, () =>
    Promise.reject(new Problem('database-unavailable', 'It is away.')),
  );
  await expect(publish(edge, 'order-1')).rejects.toMatchObject({ kind: 'set-unavailable' });
  expect(released).toHaveLength(1);
});

/** What each SET was offered, call by call. */
function callsOf(offers: readonly Offer[]): readonly string[] {
  return offers.map(({ message }) => message.placement.set);
}

const somewhere = (): Draft => request('unused').draft;
const keyless = { owner: 'shop', place: nearHangzhou, waitMs: 0 };

test('what stands in no SET’s way is published, the rest is answered in its place', async () => {
  const edge = openEdge(present, new FakeClock());
  const drafts = [somewhere(), { ...somewhere(), topic: 'unknown' }, somewhere()];
  const results = await edge.publisher.publishMany(drafts, keyless);
  expect(results.map((result) => (result instanceof Problem ? result.kind : result.state))).toEqual([
    'stored',
    'not-found',
    'stored',
  ]);
});

test('many messages under one key are the same messages when the request is repeated', async () => {
  const clock = new FakeClock();
  const context = { ...keyless, idempotency: { key: 'import-7', fingerprint: 'f' } };
  const drafts = Array.from({ length: 5 }, somewhere);
  const idsAt = async (edge: Edge): Promise<readonly unknown[]> =>
    (await edge.publisher.publishMany(drafts, context)).map((result) => 'id' in result && result.id);
  const first = await idsAt(openEdge(present, clock));
  await clock.move(3_000);
  expect(await idsAt(openEdge(away, clock))).toEqual(first);
  expect(new Set(first).size).toBe(5);
});

test('what belongs together is one unit in one shard of one SET, and its first message speaks for the key', async () => {
  const edge = openEdge(present, new FakeClock());
  const context = { ...keyless, idempotency: { key: 'order-9', fingerprint: 'f' } };
  const drafts = [{ ...somewhere(), key: 'a' }, { ...somewhere(), key: 'b' }, somewhere()];
  await edge.publisher.publishTogether(drafts, context, {});
  expect(callsOf(edge.offers)).toEqual(['hangzhou', 'hangzhou', 'hangzhou']);
  expect(new Set(edge.offers.map(({ unit }) => unit)).size).toBe(1);
  expect(new Set(edge.offers.map(({ message }) => JSON.stringify(originOf(message.id)))).size).toBe(1);
  expect(edge.offers.map(({ idempotency }) => idempotency !== undefined)).toEqual([true, false, false]);
});

test('what belongs together is refused whole when one of it cannot go', async () => {
  const edge = openEdge(present, new FakeClock());
  const drafts = [somewhere(), { ...somewhere(), topic: 'unknown' }];
  await expect(edge.publisher.publishTogether(drafts, keyless, {})).rejects.toMatchObject({
    kind: 'not-found',
  });
  expect(edge.offers).toEqual([]);
});

test('a lane has one home, wherever its publishers are and whatever is down, and never leaves it', async () => {
  const lane: Draft = { ...somewhere(), order: { kind: 'lane', lane: 'user-42' } };
  const nearVirginia = { ...keyless, place: { latitude: 39, longitude: -77 } };
  const everywhere = openEdge(present, new FakeClock());
  await everywhere.publisher.publish(lane, keyless);
  await everywhere.publisher.publish(lane, nearVirginia);
  const [home] = callsOf(everywhere.offers);
  const sick = openEdge(present, new FakeClock(), withHealth(allUp, { [home ?? '']: 'down' }));
  await sick.publisher.publish(lane, keyless);
  expect([...callsOf(everywhere.offers), ...callsOf(sick.offers)]).toEqual([home, home, home]);
  const gone = openEdge(present, new FakeClock(), allUp, () =>
    Promise.reject(new Problem('database-unavailable', 'It is away.')),
  );
  await expect(gone.publisher.publish(lane, keyless)).rejects.toMatchObject({ kind: 'set-unavailable' });
});
