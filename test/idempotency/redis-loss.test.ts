/** What the guards promise when Redis is killed with −9: on a private Redis and Postgres. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { upstashRequester, type UpstashRequester } from '../../functions/node/upstash-bridge.ts';
import { receiptTables, receiptWebhook } from '../../functions/webhooks/receipt.ts';
import { webhookHandler } from '../../shared/consumer/consumer.ts';
import { createFallbackGuard } from '../../shared/idempotency/fallback-guard.ts';
import type { Guard } from '../../shared/idempotency/guard.ts';
import { createPostgresGuard, guardTable } from '../../shared/idempotency/postgres-guard.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import type { SqlRunner } from '../../shared/idempotency/sql.ts';
import { connectRedis, type RedisScripts } from '../../shared/idempotency/upstash.ts';
import { newMessageId, secret, signedRequest } from '../consumer/signed-request.ts';
import { startPrivateStack } from '../stack/current-stack.ts';
import type { Stack } from '../stack/stack.ts';

let stack: Stack;
let requester: UpstashRequester;
let redis: RedisScripts;
let pool: pg.Pool;
let sql: SqlRunner;
let alone: Guard;
let fallback: Guard;

beforeAll(async () => {
  stack = await startPrivateStack();
  requester = upstashRequester(stack.redisUrl);
  redis = connectRedis({ requester });
  await stack.createDatabase('guard');
  pool = new pg.Pool({ connectionString: stack.postgresUrl('guard'), max: 8 });
  await pool.query(guardTable + receiptTables);
  sql = (text, params) => pool.query(text, [...params]);
  alone = createRedisGuard(redis);
  fallback = createFallbackGuard({ redis: alone, database: createPostgresGuard(sql) });
});
afterAll(async () => {
  await pool?.end();
  await requester?.close();
  await stack?.stop();
});
beforeEach(startRedis);

/**
 * `appendfsync always`, because what a Redis with `everysec` remembers after a kill depends on how busy the disk was; only
 * so is the state after a restart certain.
 */
async function startRedis(): Promise<void> {
  await stack.parts.redis.start();
  await requester.request({ body: ['CONFIG', 'SET', 'appendfsync', 'always'] });
}

/** SIGKILL, and the proof of it. */
async function killRedis(): Promise<void> {
  await stack.parts.redis.kill();
  await expect(redis.run('return 1', [], [])).rejects.toMatchObject({ kind: 'redis-unavailable' });
}

const leaseMs = 60_000;
const done = { fingerprint: 'f1', ttlMs: 600_000 };
const newKey = () => `idem:loss:${crypto.randomUUID()}`;

async function reserved(guard: Guard, key: string): Promise<string> {
  const reservation = await guard.reserve(key, 'f1', leaseMs);
  if (reservation.outcome !== 'reserved') throw new Error(`expected reserved, got ${reservation.outcome}`);
  return reservation.token;
}

describe('the Redis guard alone', () => {
  it('finds its leases and done markers again after a kill, where Redis syncs every write', async () => {
    const [running, finished] = [newKey(), newKey()];
    const token = await reserved(alone, running);
    await alone.complete(finished, await reserved(alone, finished), done);
    await killRedis();
    await startRedis();
    expect((await alone.reserve(running, 'f1', leaseMs)).outcome).toBe('in-flight');
    expect((await alone.reserve(finished, 'f1', leaseMs)).outcome).toBe('duplicate');
    expect(await alone.complete(running, token, done)).toBe(true);
  });

  it('refuses with 503 while Redis is dead, and runs nothing', async () => {
    let runs = 0;
    const answer = webhookHandler({ secrets: [secret], subscription: 'loss', guard: alone }, async () => {
      runs += 1;
    });
    const id = newMessageId();
    await killRedis();
    expect((await answer(signedRequest({ id, body: '{}' }))).status).toBe(503);
    expect(runs).toBe(0);
    await startRedis();
    expect((await answer(signedRequest({ id, body: '{}' }))).status).toBe(200);
    expect(runs).toBe(1);
  });
});

describe('Redis before Postgres', () => {
  it('knows running and done messages while Redis is dead', async () => {
    const [running, finished] = [newKey(), newKey()];
    const token = await reserved(fallback, running);
    await fallback.complete(finished, await reserved(fallback, finished), done);
    await killRedis();
    expect((await fallback.reserve(running, 'f1', leaseMs)).outcome).toBe('in-flight');
    expect((await fallback.reserve(finished, 'f1', leaseMs)).outcome).toBe('duplicate');
    expect((await fallback.reserve(finished, 'f2', leaseMs)).outcome).toBe('mismatch');
    expect(await fallback.renew(running, token, leaseMs)).toBe(true);
    expect(await fallback.complete(running, token, done)).toBe(true);
  });

  it('remembers what was done while Redis was dead', async () => {
    const key = newKey();
    const early = newKey();
    const token = await reserved(fallback, early);
    await killRedis();
    await fallback.complete(early, token, done);
    await fallback.complete(key, await reserved(fallback, key), done);
    await startRedis();
    expect((await fallback.reserve(key, 'f1', leaseMs)).outcome).toBe('duplicate');
    // Redis came back with the old lease: a copy waits for its end, and never runs.
    expect((await fallback.reserve(early, 'f1', leaseMs)).outcome).toBe('in-flight');
    await redis.run(`return redis.call('DEL', KEYS[1])`, [early], []);
    expect((await fallback.reserve(early, 'f1', leaseMs)).outcome).toBe('duplicate');
  });

  it('lets nobody in when Redis comes back empty', async () => {
    const [running, finished] = [newKey(), newKey()];
    const token = await reserved(fallback, running);
    await fallback.complete(finished, await reserved(fallback, finished), done);
    await redis.run(`return redis.call('FLUSHALL')`, [], []);
    expect((await fallback.reserve(running, 'f1', leaseMs)).outcome).toBe('in-flight');
    expect((await fallback.reserve(finished, 'f1', leaseMs)).outcome).toBe('duplicate');
    expect(await fallback.renew(running, token, leaseMs)).toBe(true);
    expect(await fallback.complete(running, token, done)).toBe(true);
    expect((await fallback.reserve(running, 'f1', leaseMs)).outcome).toBe('duplicate');
  });

  it('refuses a new message when the database is gone, and still knows the copies', async () => {
    const away = createFallbackGuard({
      redis: alone,
      database: createPostgresGuard(() => Promise.reject(new Error('no database'))),
    });
    const finished = newKey();
    await fallback.complete(finished, await reserved(fallback, finished), done);
    expect((await away.reserve(finished, 'f1', leaseMs)).outcome).toBe('duplicate');
    const fresh = newKey();
    await expect(away.reserve(fresh, 'f1', leaseMs)).rejects.toMatchObject({ kind: 'database-unavailable' });
    expect((await fallback.reserve(fresh, 'f1', leaseMs)).outcome).toBe('reserved');
  });

  it('has every effect once when Redis is killed among 600 deliveries of 200 messages', async () => {
    const answer = receiptWebhook({ secrets: [secret], guard: fallback, sql });
    const body = JSON.stringify({ orderId: 'o', sku: 's', quantity: 1, city: 'Hangzhou' });
    const ids = Array.from({ length: 200 }, newMessageId);
    let answers = 0;
    let killing: Promise<void> | undefined;
    const deliver = async (id: string): Promise<void> => {
      const { status } = await answer(signedRequest({ id, body }));
      answers += 1;
      if (answers === 150) killing = killRedis();
      expect([200, 409]).toContain(status);
    };
    const copies = [...ids, ...ids, ...ids];
    const worker = async () => {
      for (let id = copies.shift(); id !== undefined; id = copies.shift()) await deliver(id);
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    await killing;
    await startRedis();
    await Promise.all(ids.map(deliver));
    expect(killing).toBeDefined();
    const { rows } = await sql(
      'SELECT count(*)::int AS messages, sum(count)::int AS effects FROM demo_receipt',
      [],
    );
    expect(rows).toEqual([{ messages: 200, effects: 200 }]);
  });
});
