/** Limits on publishing end to end: across edges through Redis, and with Redis away. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import { createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';

const json = { 'content-type': 'application/json' };
const burst = 10;
const perMinute = { limit: 6, per: 'minute', burst } as const;
const names = ['shared', 'away', 'mute', 'bulk'] as const;

describe.each(platforms)('limits on publishing on $name', (platform) => {
  let redis: TcpProxy;
  let scene: Scene;
  let second: RunningPlatform;
  const keys = names.map((name) => ({ name, ...mintApiKey({ owner: 'demo', scopes: ['publish'] }) }));

  beforeAll(async () => {
    const stack = useStack();
    const isNode = platform.name === 'Node';
    redis = await startTcpProxy(isNode ? stack.redisUrl : stack.upstash.url);
    const settings = {
      // A busy machine is slow, and then every edge counts alone.
      SETWAY_LIMIT_TIMEOUT_MS: '3000',
      ...(isNode
        ? { SETWAY_REDIS_URL: redis.through(stack.redisUrl) }
        : { SETWAY_REDIS_REST_URL: redis.through(stack.upstash.url).replace(/\/$/, '') }),
    };
    scene = await openScene(platform, 'limits', {
      listeners: { plain: {} },
      settings,
      change: (seed) => ({
        ...seed,
        topics: [...(seed.topics ?? []), { name: 'narrow', owner: 'demo', publishLimit: perMinute }],
        keys: [
          ...(seed.keys ?? []),
          ...keys.map(({ key }) => ({ ...key, scopes: [...key.scopes], publishLimit: perMinute })),
        ],
      }),
    });
    second = await platform.start(scene.deployment, settings);
  });
  afterEach(() => redis.become('open'));
  afterAll(async () => {
    await second.stop();
    await scene.stop();
    await redis.close();
  });

  const clientOf = (name: (typeof names)[number], { url }: { readonly url: string }): Client =>
    createClient(url, { apiKey: keys.find((key) => key.name === name)?.text ?? '' });
  const publish = (client: Client, topic = 'events') => client.publish({ topic, tag: 'plain', body: 1 });

  it('two edges let through as much as one, and the topic counts all keys', async () => {
    const clients = [clientOf('shared', scene.server), clientOf('shared', second)];
    const replies = await Promise.all(
      Array.from({ length: 2 * burst }, (_, index) =>
        publish(clients[index % 2] ?? clientOf('shared', second)),
      ),
    );
    const statuses = replies.map(({ status }) => status);
    // A minute gives 6 back: one or two may be among them on a slow machine.
    expect(statuses.filter((status) => status === 202).length - burst).toBeLessThanOrEqual(2);
    expect(statuses.filter((status) => status === 202).length).toBeGreaterThanOrEqual(burst);
    const refused = replies.find(({ status }) => status === 429);
    expect(refused?.headers.get('content-type')).toBe('application/problem+json');
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(refused?.headers.get('ratelimit-policy')).toBe('"key";q=6;w=60;qu="messages"');

    const all = [scene.client, createClient(second.url, scene.deployment)];
    const narrow = await Promise.all(
      Array.from({ length: burst + 4 }, (_, index) => publish(all[index % 2] ?? scene.client, 'narrow')),
    );
    expect(narrow.filter(({ status }) => status === 429).length).toBeGreaterThanOrEqual(2);
    // Without a limit there is nothing to tell.
    const free = await publish(scene.client);
    expect(free.status).toBe(202);
    expect(free.headers.get('ratelimit')).toBeNull();
  });

  it('a bulk request counts its messages', async () => {
    const client = clientOf('bulk', scene.server);
    const body = JSON.stringify(Array(burst - 1).fill({ topic: 'events', tag: 'plain', body: 1 }));
    expect(await client.post('/v1/messages/bulk', body, json)).toMatchObject({ status: 202 });
    expect(await client.post('/v1/messages/bulk', body, json)).toMatchObject({ status: 429 });
    expect(await publish(client)).toMatchObject({ status: 202 });
  });

  it.each([
    ['away', 'closed'],
    ['mute', 'mute'],
  ] as const)(
    'with Redis %s an edge counts alone, and refuses nobody without a reason',
    async (name, mode) => {
      redis.become(mode);
      const client = clientOf(name, scene.server);
      const statuses: number[] = [];
      for (let count = 0; count < burst + 3; count++) statuses.push((await publish(client)).status);
      expect(statuses.slice(0, burst)).toEqual(Array(burst).fill(202));
      expect(statuses).toContain(429);
      expect(mode === 'closed' ? redis.refused : redis.lostBytes).toBeGreaterThan(0);
      redis.become('open');
      // Back again, what Redis knows counts: this key has asked it for next to nothing.
      await until(20_000, async () => (await publish(client)).status === 202);
    },
  );
});
