import { Redis } from '@upstash/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serveUpstashBridge, upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { useStack } from '../stack/current-stack.ts';

interface Way {
  readonly redis: Redis;
  readonly close: () => Promise<void>;
}

const ways: Readonly<Record<string, (redisUrl: string) => Promise<Way>>> = {
  'in-process': async (redisUrl) => {
    const requester = upstashRequester(redisUrl);
    return { redis: new Redis(requester), close: () => requester.close() };
  },
  'over HTTP': async (redisUrl) => {
    const server = await serveUpstashBridge(0, { redisUrl, token: 'secret' });
    return {
      redis: new Redis({ url: server.url, token: 'secret', retry: false }),
      close: () => server.close(),
    };
  },
};

describe.each(Object.entries(ways))("Upstash's client %s", (_name, open) => {
  const prefix = `upstash-${crypto.randomUUID()}:`;
  const key = (name: string) => prefix + name;
  let way: Way;
  let redis: Redis;

  beforeAll(async () => {
    way = await open(useStack().redisUrl);
    ({ redis } = way);
  });
  afterAll(() => way.close());

  test('sets, reads and refuses a taken key', async () => {
    expect(await redis.set(key('a'), '赵 "OK"', { nx: true, px: 60_000 })).toBe('OK');
    expect(await redis.set(key('a'), 'other', { nx: true, px: 60_000 })).toBeNull();
    expect(await redis.get(key('a'))).toBe('赵 "OK"');
    expect(await redis.pttl(key('a'))).toBeGreaterThan(0);
    expect(await redis.get(key('absent'))).toBeNull();
  });

  test('gets hashes, scores and lists in its own shapes', async () => {
    await redis.hset(key('hash'), { name: 'x', count: 3 });
    expect(await redis.hgetall(key('hash'))).toEqual({ name: 'x', count: 3 });
    await redis.zadd(key('zset'), { score: 1.5, member: 'm' });
    expect(await redis.zrange(key('zset'), 0, -1, { withScores: true })).toEqual(['m', 1.5]);
    await redis.rpush<unknown>(key('list'), 'a', { b: 1 });
    expect(await redis.lrange(key('list'), 0, -1)).toEqual(['a', { b: 1 }]);
  });

  test('gets the error of a command as an error, and the next command works', async () => {
    await redis.set(key('text'), 'x');
    await expect(redis.lpush(key('text'), 'y')).rejects.toThrow(/WRONGTYPE/);
    await expect(redis.lpush(key('text'), 'y')).rejects.toHaveProperty('name', 'UpstashError');
    expect(await redis.get(key('text'))).toBe('x');
  });

  test('runs a pipeline in order', async () => {
    const replies = await redis.pipeline().set(key('p'), 1).incr(key('p')).get(key('p')).exec();
    expect(replies).toEqual(['OK', 2, 2]);
  });

  test('runs a transaction with nothing of anybody else in between', async () => {
    const counter = key('counter');
    const transactions = Array.from({ length: 100 }, () =>
      redis.multi().incr(counter).incr(counter).exec<[number, number]>(),
    );
    const others = Array.from({ length: 100 }, () => redis.incr(counter));
    const [pairs] = await Promise.all([Promise.all(transactions), Promise.all(others)]);
    for (const [first, second] of pairs) expect(second).toBe(first + 1);
    expect(await redis.get(counter)).toBe(300);
  });

  test('has nothing of a transaction that Redis refuses, and leaves no transaction open', async () => {
    const wrong = redis.multi().set(key('never'), 1);
    (wrong as unknown as { chain(command: unknown): unknown }).chain({
      command: ['NOSUCHCOMMAND'],
      deserialize: String,
    });
    await expect(wrong.exec()).rejects.toThrow(/NOSUCHCOMMAND|unknown command/i);
    expect(await redis.get(key('never'))).toBeNull();
    expect(await redis.set(key('after'), 1)).toBe('OK');
  });

  test('runs scripts by text and by hash', async () => {
    const compareAndDelete = redis.createScript<number>(
      "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    );
    await redis.set(key('lease'), 'mine');
    expect(await compareAndDelete.exec([key('lease')], ['other'])).toBe(0);
    expect(await compareAndDelete.exec([key('lease')], ['mine'])).toBe(1);
    await expect(redis.evalsha('0'.repeat(40), [], [])).rejects.toThrow(/NOSCRIPT/);
    expect(await redis.eval('return {1, "two", {ARGV[1]}, false}', [], ['x'])).toEqual([
      1,
      'two',
      ['x'],
      null,
    ]);
  });

  test('may not touch the connection that all share', async () => {
    await expect(redis.exec(['MULTI'])).rejects.toThrow(/not available/);
    await expect(redis.exec(['select', '3'])).rejects.toThrow(/not available/);
  });
});

test('a wrong token is refused', async () => {
  const server = await serveUpstashBridge(0, { redisUrl: useStack().redisUrl, token: 'secret' });
  try {
    await expect(new Redis({ url: server.url, token: 'wrong', retry: false }).ping()).rejects.toThrow(
      /Unauthorized/,
    );
  } finally {
    await server.close();
  }
});

test('an abort rejects with its reason', async () => {
  const requester = upstashRequester(useStack().redisUrl);
  const reason = new Error('enough');
  const command = requester.request({ body: ['ping'], signal: AbortSignal.abort(reason) });
  await expect(command).rejects.toBe(reason);
  await requester.close();
});
