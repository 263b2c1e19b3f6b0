/** The edge beside publishing: probes, metrics, OpenAPI, SETs, and who may do what. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey, type Scope } from '../../shared/catalog/api-key.ts';
import { areDeliveries, at, cities, createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';

const good = { topic: 'orders', body: { orderId: 'e', sku: 'tea', quantity: 1, city: 'Berlin' } };

describe.each(platforms)('the edge on $name', (platform) => {
  let deployment: Deployment;
  let server: RunningPlatform;
  let client: Client;
  const keys = {
    reader: mintApiKey({ owner: 'demo', scopes: ['read'] }),
    writer: mintApiKey({ owner: 'demo', scopes: ['publish'] }),
    rival: mintApiKey({ owner: 'rival', scopes: ['publish', 'read'] }),
    expired: mintApiKey({ owner: 'demo', scopes: ['publish'], expiresAt: '2020-01-01T00:00:00.000Z' }),
    unknown: mintApiKey({ owner: 'demo', scopes: ['publish'] }),
  };
  const as = (apiKey: string): Client => createClient(server.url, { apiKey });

  beforeAll(async () => {
    const { unknown: _, ...known } = keys;
    const change = (seed: Deployment['seed']): Deployment['seed'] => ({
      ...seed,
      keys: [
        ...(seed.keys ?? []),
        ...Object.values(known).map(({ key }) => ({ ...key, scopes: [...key.scopes] as Scope[] })),
      ],
    });
    deployment = await deploy(useStack(), freshPrefix('edge'), () => undefined, change);
    server = await platform.start(deployment);
    client = createClient(server.url, deployment);
  });
  afterAll(() => server.stop());

  it('is live and ready', async () => {
    expect(await client.get('/health/live')).toMatchObject({ status: 200, body: { status: 'live' } });
    expect(await client.get('/health/ready')).toMatchObject({ status: 200, body: { usableSets: 4 } });
  });

  it('describes itself in OpenAPI 3.1', async () => {
    const { body } = await client.get<{ openapi: string; paths: Record<string, unknown> }>('/openapi.json');
    expect(body.openapi).toMatch(/^3\.1\./);
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining([
        '/v1/messages',
        '/v1/topics/{topic}/messages',
        '/v1/messages/{id}',
        '/v1/sets',
        '/v1/sets/route',
      ]),
    );
  });

  it('lists the SETs without what they are made of', async () => {
    const { status, body } = await client.get<{ sets: readonly object[] }>('/v1/sets');
    expect(status).toBe(200);
    expect(body.sets).toMatchObject([
      { id: 'center', number: 0, kind: 'center', status: 'active', breaker: 'closed' },
      { id: 'hangzhou', number: 1, kind: 'unit' },
      { id: 'frankfurt', number: 2, kind: 'unit' },
      { id: 'virginia', number: 3, kind: 'unit' },
    ]);
    expect(JSON.stringify(body)).not.toMatch(/amqp|postgres|sealed/);
  });

  it('explains a route as it then takes it', async () => {
    const { body } = await client.get<{ candidates: readonly { set: string; reason: string }[] }>(
      '/v1/sets/route?topic=orders&latitude=40.7&longitude=-74',
    );
    expect(body.candidates.map(({ set }) => set)).toEqual(['virginia', 'frankfurt', 'hangzhou', 'center']);
    expect(body.candidates[0]?.reason).toBe('nearest');
    const published = await client.publish(good, at(cities.newYork));
    expect(published.body.set).toBe('virginia');
  });

  it('measures what it did', async () => {
    const { body } = await client.publish(good, at(cities.berlin));
    await client.message(
      body.id,
      (shown) => shown.state === 'CONFIRMED' && areDeliveries('DONE', 'inventory', 'receipt')(shown),
    );
    const metrics = await client.get<string>('/metrics');
    expect(metrics.headers.get('content-type')).toContain('version=0.0.4');
    const valueOf = (series: string): number =>
      Number(
        metrics.body
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.split(' ')[1] ?? 0,
      );
    expect(valueOf('setway_published_total{set="frankfurt",mode="confirm",reason="nearest"}')).toBe(1);
    expect(valueOf('setway_stored_total{set="frankfurt"}')).toBe(1);
    expect(valueOf('setway_sent_total{set="frankfurt",outcome="confirmed"}')).toBe(1);
    expect(valueOf('setway_deliveries_total{set="frankfurt",subscription="inventory",verdict="done"}')).toBe(
      1,
    );
    expect(valueOf('setway_broker_state{set="frankfurt"}')).toBe(1);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(401);
  });

  it('refuses whoever has no valid key', async () => {
    const body = JSON.stringify(good);
    const bare = (headers: Record<string, string>) =>
      fetch(`${server.url}/v1/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      });
    const { text } = keys.writer;
    const wrongChecksum = text.slice(0, -1) + (text.endsWith('0') ? '1' : '0');
    const refused = [
      await bare({}),
      await bare({ authorization: `Basic ${btoa('demo:demo')}` }),
      await bare({ authorization: `Bearer ${wrongChecksum}` }),
      await bare({ authorization: `Bearer ${keys.unknown.text}` }),
      await bare({ authorization: `Bearer ${keys.expired.text}` }),
    ];
    expect(refused.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    for (const answer of refused) {
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
    expect((await bare({ authorization: `Bearer ${text}` })).status).toBe(202);
  });

  it('refuses a key without the scope, and hides what belongs to others', async () => {
    expect((await as(keys.reader.text).publish(good)).status).toBe(403);
    const { body } = await as(keys.writer.text).publish(good);
    expect((await as(keys.writer.text).get(`/v1/messages/${body.id}`)).status).toBe(403);
    expect((await as(keys.reader.text).get(`/v1/messages/${body.id}`)).status).toBe(200);
    const hidden = await as(keys.rival.text).get(`/v1/messages/${body.id}`);
    const absent = await as(keys.rival.text).get('/v1/messages/msg_01h455vb4pex5vsknk084sn02q');
    expect(hidden.status).toBe(404);
    expect(Object.keys(hidden.body)).toEqual(Object.keys(absent.body));
    expect((await as(keys.rival.text).publish(good)).status).toBe(404);
    expect((await as(keys.writer.text).publish(good, at(cities.berlin))).status).toBe(403);
  });
});
