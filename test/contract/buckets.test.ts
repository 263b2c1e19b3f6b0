/** The contract of `Buckets`, in memory and on a real Redis. */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { createLocalBuckets, type Buckets, type PublishLimit } from '../../shared/catalog/publish-limit.ts';
import { systemClock } from '../../shared/clock.ts';
import { createRedisBuckets } from '../../shared/idempotency/redis-buckets.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { FakeClock } from '../consumer/fake-clock.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';

const stack = useStack();
const requester = upstashRequester(stack.redisUrl);
afterAll(() => requester.close());

const makers: Readonly<Record<string, () => Buckets>> = {
  'in memory': () => createLocalBuckets(systemClock),
  'Redis in-process': () => createRedisBuckets(connectRedis({ requester })),
  'Redis over REST': () => createRedisBuckets(connectRedis(stack.upstash)),
};

/** Slow enough to stand still during a test. */
const slow: PublishLimit = { limit: 1, of: 'messages', per: 'minute', burst: 10 };

describe.each(Object.entries(makers))('buckets: %s', (_name, make) => {
  const buckets = make();
  const newId = (): string => `test:${crypto.randomUUID()}`;
  const take = async (id: string, amount = 1, limit = slow) => {
    const [level] = await buckets.take([{ id, limit, amount }]);
    if (!level) throw new Error('No level.');
    return level;
  };

  it('let through exactly a full bucket of 100 requests at once', async () => {
    const id = newId();
    const levels = await Promise.all(Array.from({ length: 100 }, () => take(id)));
    const taken = levels.filter(({ waitMs }) => waitMs === 0);
    expect(taken).toHaveLength(10);
    expect(taken.map(({ remaining }) => remaining).toSorted((a, b) => b - a)).toEqual(
      Array.from({ length: 10 }, (_, index) => 9 - index),
    );
    for (const { waitMs, remaining } of levels.filter((level) => level.waitMs > 0)) {
      expect(waitMs).toBeLessThanOrEqual(60_000);
      expect(remaining).toBe(0);
    }
  });

  it('count amounts, and tell how long more would take', async () => {
    const id = newId();
    expect(await take(id, 7)).toMatchObject({ waitMs: 0, remaining: 3 });
    const refused = await take(id, 4);
    expect(refused.remaining).toBe(3);
    expect(refused.waitMs).toBeGreaterThan(50_000);
    expect(refused.waitMs).toBeLessThanOrEqual(60_000);
    expect(refused.fullAfterMs).toBeGreaterThan(6 * 60_000);
    expect(await take(id, 3)).toMatchObject({ waitMs: 0, remaining: 0 });
  });

  it('take from all or from none', async () => {
    const [empty, full] = [newId(), newId()];
    await take(empty, 10);
    const wanted = [full, empty].map((id) => ({ id, limit: slow, amount: 2 }));
    const [ofFull, ofEmpty] = await buckets.take(wanted);
    expect(ofFull).toMatchObject({ waitMs: 0, remaining: 10 });
    expect(ofEmpty?.waitMs).toBeGreaterThan(0);
    expect(await take(full, 10)).toMatchObject({ waitMs: 0 });
  });

  it('fill again', async () => {
    const id = newId();
    const quick: PublishLimit = { limit: 50, of: 'messages', per: 'second' };
    await take(id, 50, quick);
    const filled = await until(20_000, async () => {
      const level = await take(id, 5, quick);
      return level.waitMs === 0 && level;
    });
    expect(filled.remaining).toBeLessThanOrEqual(45);
  });
});

describe('buckets over time', () => {
  it('never let through more than a full one and what came back since', async () => {
    const requests = fc.array(fc.record({ afterMs: fc.nat(3_000), amount: fc.integer({ min: 1, max: 30 }) }));
    const limits = fc.record({
      limit: fc.integer({ min: 1, max: 50 }),
      burst: fc.integer({ min: 30, max: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(requests, limits, async (list, { limit, burst }) => {
        const clock = new FakeClock();
        const buckets = createLocalBuckets(clock);
        const publishLimit: PublishLimit = { limit, burst, of: 'messages', per: 'second' };
        let [elapsedMs, taken] = [0, 0];
        for (const { afterMs, amount } of list) {
          await clock.move(afterMs);
          elapsedMs += afterMs;
          const [level] = await buckets.take([{ id: 'one', limit: publishLimit, amount }]);
          if (level?.waitMs === 0) taken += amount;
          expect(taken).toBeLessThanOrEqual(burst + (limit * elapsedMs) / 1000 + 0.001);
        }
      }),
    );
  });

  it('a request that waited as long as it was told is let through', async () => {
    const clock = new FakeClock();
    const buckets = createLocalBuckets(clock);
    const wanted = [{ id: 'one', limit: slow, amount: 10 }];
    await buckets.take(wanted);
    const [refused] = await buckets.take(wanted);
    await clock.move(Math.ceil(refused?.waitMs ?? 0));
    expect((await buckets.take(wanted))[0]?.waitMs).toBe(0);
  });
});
