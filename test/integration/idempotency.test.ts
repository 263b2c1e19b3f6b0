/** `Idempotency-Key` of publishes, with the shared Redis and without it. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import { at, cities, createClient, type Client, type ProblemBody, type Published } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { countRows } from '../stack/query.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';

const order = { orderId: 'once', sku: 'tea', quantity: 1, city: 'Berlin' };

describe.each(platforms)('Idempotency-Key on $name', (platform) => {
  let redis: TcpProxy;
  let upstash: TcpProxy;
  let deployment: Deployment;
  let server: RunningPlatform;
  let client: Client;
  let rival: Client;

  beforeAll(async () => {
    const stack = useStack();
    redis = await startTcpProxy(stack.redisUrl);
    upstash = await startTcpProxy(stack.upstash.url);
    const rivalKey = mintApiKey({ owner: 'rival', scopes: ['publish', 'read'] });
    deployment = await deploy(
      stack,
      freshPrefix('idempotency'),
      () => undefined,
      (seed) => ({
        ...seed,
        topics: [...(seed.topics ?? []), { name: 'rivals', owner: 'rival' }],
        keys: [...(seed.keys ?? []), { ...rivalKey.key, scopes: [...rivalKey.key.scopes] }],
      }),
    );
    const redisSettings =
      platform.name === 'Node'
        ? { SETWAY_REDIS_URL: redis.through(stack.redisUrl) }
        : { SETWAY_REDIS_REST_URL: upstash.through(stack.upstash.url).replace(/\/$/, '') };
    server = await platform.start(deployment, redisSettings);
    client = createClient(server.url, deployment);
    rival = createClient(server.url, { apiKey: rivalKey.text });
  });
  afterEach(() => {
    redis.become('open');
    upstash.become('open');
  });
  afterAll(async () => {
    await server.stop();
    await redis.close();
    await upstash.close();
  });

  const publish = <T = Published>(
    idempotencyKey: string,
    more: object = {},
    place = cities.berlin as readonly [number, number],
  ) =>
    client.publish<T>(
      { topic: 'orders', key: idempotencyKey, body: order, ...more },
      { 'idempotency-key': idempotencyKey, ...at(place) },
    );
  /** Stored under this partition key, in all SETs. */
  const countStored = (key: string): Promise<number> =>
    countRows(Object.values(deployment.databaseUrls), 'message', `key = '${key}'`);
  const loseRedis = (): void => {
    redis.become('closed');
    upstash.become('closed');
  };
  const refusals = (): number => redis.refused + upstash.refused;

  it('the same request again gets the first answer and stores nothing', async () => {
    const first = await publish('replay');
    expect(first).toMatchObject({ status: 202, body: { set: 'frankfurt', duplicate: false } });
    const second = await publish('replay');
    expect(second).toMatchObject({ status: 202, body: { ...first.body, duplicate: true } });
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    expect(await countStored('replay')).toBe(1);
  });

  it('another request under the same key is refused and stores nothing', async () => {
    await publish('reused');
    const { status, body } = await publish<ProblemBody>('reused', { body: { ...order, quantity: 2 } });
    expect(status).toBe(422);
    expect(body.type).toBe('/problems/key-reused');
    expect(await countStored('reused')).toBe(1);
  });

  it('100 requests at once under one key store one message', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => publish('hundred')));
    expectOneOutcome(answers);
    expect(await countStored('hundred')).toBe(1);
    const later = await publish('hundred');
    expect(later.body).toMatchObject({ duplicate: true, id: answers.find((a) => a.status === 202)?.body.id });
  });

  it('the key of another owner is another key', async () => {
    const own = await publish('shared-name');
    const theirs = await rival.publish(
      { topic: 'rivals', key: 'shared-name', body: 1 },
      { 'idempotency-key': 'shared-name' },
    );
    expect(theirs).toMatchObject({ status: 202, body: { duplicate: false } });
    expect(theirs.body.id).not.toBe(own.body.id);
    expect(await countStored('shared-name')).toBe(2);
  });

  it('without Redis the database of one SET decides, wherever the requests come from', async () => {
    const before = refusals();
    loseRedis();
    const places = Object.values(cities);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => publish('no-redis', {}, places[index % places.length])),
    );
    expect(refusals()).toBeGreaterThan(before);
    expectOneOutcome(answers);
    expect(answers.every(({ status }) => status === 202)).toBe(true);
    expect(await countStored('no-redis')).toBe(1);
    const replay = await publish('no-redis');
    expect(replay.body).toMatchObject({ duplicate: true, id: answers[0]?.body.id });
    const reused = await publish<ProblemBody>('no-redis', { body: { ...order, quantity: 2 } });
    expect(reused).toMatchObject({ status: 422, body: { type: '/problems/key-reused' } });
    expect(await countStored('no-redis')).toBe(1);
  });

  it('a key used while Redis was away is known when Redis is back', async () => {
    loseRedis();
    const first = await publish('redis-back');
    expect(first.status).toBe(202);
    redis.become('open');
    upstash.become('open');
    const { set } = first.body;
    // From the place of the SET that decided, so that its database is asked again.
    const place = { hangzhou: cities.shanghai, virginia: cities.newYork, center: cities.jakarta }[set];
    const second = await publish('redis-back', {}, place ?? cities.berlin);
    expect(second.body).toMatchObject({ id: first.body.id, duplicate: true });
    expect(await countStored('redis-back')).toBe(1);
  });
});

/** All that were accepted name one message, exactly one is not a duplicate, and the others were told to ask later. */
function expectOneOutcome(answers: readonly { readonly status: number; readonly body: Published }[]): void {
  const accepted = answers.filter(({ status }) => status === 202);
  expect(new Set(accepted.map(({ body }) => body.id)).size).toBe(1);
  expect(accepted.filter(({ body }) => !body.duplicate)).toHaveLength(1);
  expect(answers.filter(({ status }) => status !== 202 && status !== 409)).toEqual([]);
}
