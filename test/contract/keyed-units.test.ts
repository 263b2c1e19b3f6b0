/**
 * A unit under an idempotency key that is repeated with the ledger lost: the database knows the key, and the answer names
 * what it has stored, also after midnight, when the ids of the new day are others.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { systemClock, type Clock } from '../../shared/clock.ts';
import { createRedisPublishLedger } from '../../shared/idempotency/redis-publish-ledger.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { toUuid } from '../../shared/identifier.ts';
import { readSequence } from '../../shared/message/sequence-draft.ts';
import { createPublisher } from '../../shared/publish/accept.ts';
import type { Bond } from '../../shared/publish/publisher.ts';
import { createBreaker } from '../../shared/sets/breaker.ts';
import { compileRouteTable } from '../../shared/sets/route-table.ts';
import type { SetLink } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { useStack } from '../stack/current-stack.ts';

const stack = useStack();
const bridge = createNeonBridge();
const requester = upstashRequester(stack.redisUrl);
const topic: Topic = { name: 'orders', owner: 'shop', type: 'fanout', scope: 'anywhere', rules: ['nearest'] };
const hangzhou = {
  id: 'hangzhou',
  number: 1,
  kind: 'unit',
  place: { latitude: 30, longitude: 120 },
} as const;
let sql: Sql;

beforeAll(async () => {
  configureDatabases({ fetch: bridge.fetch, timeoutMs: 10_000 });
  sql = openDatabase((await stack.createCorner('keyed')).postgresUrl);
  await migrate(sql);
});
afterAll(async () => {
  await requester.close();
  await bridge.close();
});

/** An edge at an hour, whose ledger nobody has used before. */
function edgeAt(nowMs: number) {
  const clock: Clock = { ...systemClock, nowMs: () => nowMs };
  const table = compileRouteTable({
    version: 1,
    sets: [{ ...hangzhou, weight: 1, status: 'active', shards: 1 }],
    buckets: [],
    pins: [],
    health: {},
  });
  const accept: SetLink['accept'] = async (offers) =>
    (await openStore(sql).commit(offers, { set: 'hangzhou', resendAfterMs: 60_000 })).receipts;
  const ledger = createRedisPublishLedger(connectRedis({ requester }));
  const lost = crypto.randomUUID();
  return createPublisher({
    catalog: {
      current: async () => ({
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
    link: () => ({ accept }) as SetLink,
    breaker: createBreaker({ clock, random: Math.random }),
    ledger: { ...ledger, reserve: (key, ...rest) => ledger.reserve(key + lost, ...rest) },
    clock,
    telemetry: createTelemetry(),
    acceptTimeoutMs: 10_000,
    acceptDeadlineMs: 12_000,
    idempotencyTtlMs: 60_000,
  });
}

const halves: Bond = { transaction: { firstCheckAfterMs: 60_000 } };

it.each<[string, Bond, number]>([
  ['a sequence that is repeated the same day', {}, -500],
  ['a sequence that is repeated after midnight', {}, 1_000],
  ['a transaction that is repeated the same day', halves, -500],
  ['a transaction that is repeated after midnight', halves, 1_000],
])('%s is answered with the ids that are stored', async (_what, bond, secondMs) => {
  const idempotency = { key: crypto.randomUUID(), fingerprint: 'f' };
  const midnight = Math.floor(Date.now() / 86_400_000) * 86_400_000;
  const items = { topic: 'orders', messages: [{ body: 1 }, { body: 2 }, { body: 3 }] };
  const publishAt = (nowMs: number) =>
    edgeAt(nowMs).publishTogether(
      readSequence(items, { nowMs, idempotency }),
      { owner: 'shop', waitMs: 0, idempotency },
      bond,
    );
  const first = await publishAt(midnight - 1_000);
  const again = await publishAt(midnight + secondMs);
  expect(again.map(({ id }) => id)).toEqual(first.map(({ id }) => id));
  expect(again.map(({ duplicate }) => duplicate)).toEqual([true, true, true]);
  const uuids = again.map(({ id }) => toUuid(id));
  const rows = await sql`SELECT id FROM message WHERE id = ANY(${uuids}::uuid[])`;
  expect(rows).toHaveLength(3);
});
