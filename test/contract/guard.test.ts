/** One contract, every guard: the protocol of shared/idempotency/guard.ts on a real Redis and a real Postgres. */
import { neon, neonConfig } from '@neondatabase/serverless';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { createFallbackGuard } from '../../shared/idempotency/fallback-guard.ts';
import type { Guard, Reservation } from '../../shared/idempotency/guard.ts';
import { createMemoryGuard } from '../../shared/idempotency/memory-guard.ts';
import { createPostgresGuard, guardTable } from '../../shared/idempotency/postgres-guard.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import { redisThrough } from '../../shared/idempotency/redis-commands.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/part.ts';

const stack = useStack();
const closers: (() => Promise<unknown>)[] = [];
let postgresUrl = '';

beforeAll(async () => {
  const corner = await stack.createCorner('guard');
  postgresUrl = corner.postgresUrl;
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  await client.query(guardTable);
  await client.end();
});
afterAll(async () => {
  for (const close of closers) await close();
});

function overRequester(): Guard {
  const requester = upstashRequester(stack.redisUrl);
  closers.push(() => requester.close());
  return createRedisGuard(connectRedis({ requester }));
}

function overPg(): Guard {
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 8 });
  closers.push(() => pool.end());
  return createPostgresGuard((text, params) => pool.query(text, [...params]));
}

function overNeon(): Guard {
  const bridge = createNeonBridge();
  closers.push(() => bridge.close());
  neonConfig.fetchFunction = bridge.fetch;
  const sql = neon(postgresUrl);
  return createPostgresGuard(async (text, params) => ({ rows: await sql.query(text, [...params]) }));
}

function overIoredis(): Guard {
  const client = new Redis(stack.redisUrl);
  closers.push(async () => client.disconnect());
  return createRedisGuard(redisThrough(([name = '', ...args]) => client.call(name, ...args)));
}

const guards: Record<string, () => Guard> = {
  memory: () => createMemoryGuard(),
  'Redis through ioredis': overIoredis,
  'Redis in-process': overRequester,
  'Redis over REST': () => createRedisGuard(connectRedis(stack.upstash)),
  'Postgres through pg': overPg,
  'Postgres through the Neon driver': overNeon,
  'Redis before Postgres': () => createFallbackGuard({ redis: overRequester(), database: overPg() }),
};

const leaseMs = 60_000;
/** Runs out while the test looks on. */
const shortLeaseMs = 40;
const done = { fingerprint: 'f1', ttlMs: 60_000 };

describe.each(Object.entries(guards))('the guard: %s', (_name, create) => {
  let guard: Guard;
  beforeAll(() => {
    guard = create();
  });
  const newKey = () => `idem:contract:${crypto.randomUUID()}`;

  async function reserve(key: string, lease = leaseMs): Promise<string> {
    const reservation = await guard.reserve(key, 'f1', lease);
    if (reservation.outcome !== 'reserved') throw new Error(`expected reserved, got ${reservation.outcome}`);
    return reservation.token;
  }
  /** Waits until the holder's lease ran out and another one took the key. */
  async function takeOver(key: string): Promise<string> {
    let token = '';
    await until(async () => {
      token = await reserve(key);
    }, 20_000);
    return token;
  }

  it('gives a new key to the first one and tells the second to come back', async () => {
    const key = newKey();
    await reserve(key);
    const second = await guard.reserve(key, 'f1', leaseMs);
    expect(second).toEqual({ outcome: 'in-flight', retryAfterMs: expect.any(Number) as number });
    const { retryAfterMs } = second as Extract<Reservation, { outcome: 'in-flight' }>;
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(leaseMs);
  });

  it('gives one key to exactly one of 100 that ask at once', async () => {
    const key = newKey();
    const asked = await Promise.all(Array.from({ length: 100 }, () => guard.reserve(key, 'f1', leaseMs)));
    expect(asked.filter(({ outcome }) => outcome === 'reserved')).toHaveLength(1);
    expect(asked.filter(({ outcome }) => outcome === 'in-flight')).toHaveLength(99);
  });

  it('calls a completed key a duplicate', async () => {
    const key = newKey();
    expect(await guard.complete(key, await reserve(key), done)).toBe(true);
    expect(await guard.reserve(key, 'f1', leaseMs)).toEqual({ outcome: 'duplicate' });
  });

  it('says the same when complete is sent twice', async () => {
    const key = newKey();
    const token = await reserve(key);
    expect(await guard.complete(key, token, done)).toBe(true);
    expect(await guard.complete(key, token, done)).toBe(true);
  });

  it('refuses another body under the same key, running or done', async () => {
    const key = newKey();
    const token = await reserve(key);
    expect(await guard.reserve(key, 'f2', leaseMs)).toEqual({ outcome: 'mismatch' });
    await guard.complete(key, token, done);
    expect(await guard.reserve(key, 'f2', leaseMs)).toEqual({ outcome: 'mismatch' });
  });

  it('takes any fingerprint and key as text', async () => {
    const key = `${newKey()}:ü💥'"$1`;
    const odd = 'D:x:{"a":1}:ü';
    const reservation = await guard.reserve(key, odd, leaseMs);
    expect(reservation.outcome).toBe('reserved');
    expect((await guard.reserve(key, odd, leaseMs)).outcome).toBe('in-flight');
    expect((await guard.reserve(key, '1', leaseMs)).outcome).toBe('mismatch');
  });

  it('frees a released key', async () => {
    const key = newKey();
    await guard.release(key, await reserve(key));
    expect((await guard.reserve(key, 'f2', leaseMs)).outcome).toBe('reserved');
  });

  it('does not let release take back a completed key', async () => {
    const key = newKey();
    const token = await reserve(key);
    await guard.complete(key, token, done);
    await guard.release(key, token);
    expect(await guard.reserve(key, 'f1', leaseMs)).toEqual({ outcome: 'duplicate' });
  });

  it('forgets a done marker after its retention', async () => {
    const key = newKey();
    await guard.complete(key, await reserve(key), { ...done, ttlMs: shortLeaseMs });
    expect(await takeOver(key)).not.toBe('');
  });

  it('prolongs the lease of a holder that renews', async () => {
    const key = newKey();
    const token = await reserve(key, 2_000);
    expect(await guard.renew(key, token, leaseMs)).toBe(true);
    const second = await guard.reserve(key, 'f1', leaseMs);
    expect(second.outcome === 'in-flight' && second.retryAfterMs > 2_000).toBe(true);
  });

  it('gives the key away once the lease ran out; the stale holder can do nothing more', async () => {
    const key = newKey();
    const stale = await reserve(key, shortLeaseMs);
    const current = await takeOver(key);
    expect(await guard.renew(key, stale, leaseMs)).toBe(false);
    expect(await guard.complete(key, stale, done)).toBe(false);
    await guard.release(key, stale);
    expect((await guard.reserve(key, 'f1', leaseMs)).outcome).toBe('in-flight');
    expect(await guard.complete(key, current, done)).toBe(true);
    expect(await guard.complete(key, stale, done)).toBe(false);
  });

  it('does not renew a lease that ran out, but takes the done marker while nobody else holds the key', async () => {
    const key = newKey();
    const token = await reserve(key, shortLeaseMs);
    await until(async () => expect(await guard.renew(key, token, 1)).toBe(false), 20_000);
    expect(await guard.complete(key, token, done)).toBe(true);
    expect(await guard.reserve(key, 'f1', leaseMs)).toEqual({ outcome: 'duplicate' });
  });
});
