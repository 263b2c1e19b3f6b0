/** Publish → nearest SET → stored and confirmed → signed webhook, on every platform. */
import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, type Place } from '../stack/client.ts';
import { addListeners, secretOf } from '../stack/listeners.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { query } from '../stack/query.ts';
import { type WebhookCall } from '../stack/webhook-receiver.ts';

const event = { specversion: '1.0', id: 'A-1', source: '/shop', type: 'plain', partitionkey: 'user-7' };

function order(orderId: string, more: Record<string, unknown> = {}) {
  return { topic: 'orders', body: { orderId, sku: 'tea', quantity: 2, city: 'Shanghai' }, ...more };
}

describe.each(platforms)('publishing on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'publish', {
      listeners: {
        plain: {},
        binary: { format: 'cloudevents-binary' },
        structured: { format: 'cloudevents-structured' },
      },
      change: (seed, url) => {
        const secrets = [secretOf(seed, 'inventory'), secretOf(seed, 'receipt')];
        return {
          ...addListeners(seed, url, { rotating: { secrets } }),
          pins: [{ topic: 'orders', key: 'vip', set: 'virginia' }],
        };
      },
    });
  });
  afterAll(() => scene.stop());

  const call = (id: string, path: string): Promise<WebhookCall> =>
    scene.receiver.waitFor(() => scene.receiver.callsOf(id, path)[0], 20_000);

  const verified = ({ body, headers }: WebhookCall, secret: string): unknown =>
    new Webhook(secret).verify(body, headers as Record<string, string>);

  it.each<[string, Place, string, number]>([
    ['Shanghai', cities.shanghai, 'hangzhou', 164],
    ['Berlin', cities.berlin, 'frankfurt', 424],
    ['New York', cities.newYork, 'virginia', 350],
    ['Jakarta', cities.jakarta, 'center', 887],
  ])('a message from %s goes to the nearest SET and says why', async (_city, place, set, distanceKm) => {
    const { status, body, headers } = await scene.client.publish(order('near'), at(place));
    expect(status).toBe(202);
    expect(body).toMatchObject({ state: 'stored', set, route: { reason: 'nearest' }, duplicate: false });
    expect(Math.abs((body.route.distanceKm ?? 0) - distanceKm)).toBeLessThan(distanceKm / 20);
    expect(headers.get('location')).toBe(`/v1/messages/${body.id}`);
    const message = await scene.client.message(
      body.id,
      (shown) => shown.state === 'CONFIRMED' && areDeliveries('DONE', 'inventory', 'receipt')(shown),
    );
    expect(message).toMatchObject({ state: 'CONFIRMED', set, route: { reason: 'nearest' }, sendAttempts: 1 });
    const [row] = await query(scene.deployment.databaseUrls[set] ?? '', 'SELECT count(*)::int FROM message');
    expect(row?.['count']).toBeGreaterThan(0);
  });

  it("takes the place from the platform's own geolocation", async () => {
    const { body } = await scene.client.publish(order('cf'), platform.placeHeaders(cities.berlin));
    expect(body).toMatchObject({ set: 'frankfurt', route: { reason: 'nearest' } });
    const { body: explained } = await scene.client.get<{ candidates: readonly { set: string }[] }>(
      '/v1/sets/route?topic=orders',
      platform.placeHeaders(cities.newYork),
    );
    expect(explained.candidates[0]?.set).toBe('virginia');
  });

  it('has its effect once and keeps a timeline per subscription', async () => {
    const { body } = await scene.client.publish(order('timeline', { key: 'user-1' }), at(cities.shanghai));
    const message = await scene.client.message(body.id, areDeliveries('DONE', 'inventory', 'receipt'));
    expect(message).toMatchObject({ key: 'user-1', contentType: 'application/json', error: null });
    expect(message.deliveries.map(({ subscription }) => subscription)).toEqual(['inventory', 'receipt']);
    for (const { attempts, nextAttemptAt } of message.deliveries) {
      expect(attempts).toMatchObject([{ attempt: 1, status: 200, outcome: 'DONE', error: null }]);
      expect(attempts[0]?.host).toMatch(/^hangzhou-/);
      expect(nextAttemptAt).toBeNull();
    }
    const effects = (table: string) =>
      query(scene.deployment.consumerDatabaseUrl, `SELECT * FROM ${table} WHERE message_id = $1`, [body.id]);
    expect(await effects('demo_order_line')).toMatchObject([{ order_id: 'timeline', quantity: 2 }]);
    expect(await effects('demo_receipt')).toMatchObject([{ count: 1 }]);
  });

  it.each<[string, Record<string, unknown>, string, string]>([
    ['an explicit SET', { topic: 'orders', route: { set: 'frankfurt' } }, 'frankfurt', 'explicit'],
    ['a pinned key', { topic: 'orders', key: 'vip' }, 'virginia', 'pin'],
    // CRC-16/XMODEM of user-2 falls into the first third of the buckets; the route explained says the same.
    ['a key’s bucket', { topic: 'payments', key: 'user-2' }, '', 'key'],
    ['the center for what never leaves it', { topic: 'ledger' }, 'center', 'center'],
  ])('%s decides over the place', async (_rule, message, set, reason) => {
    const { topic, key } = message as { topic: string; key?: string };
    const { body: explained } = await scene.client.get<{ candidates: readonly { set: string }[] }>(
      `/v1/sets/route?topic=${topic}${key === undefined ? '' : `&key=${key}`}`,
      at(cities.shanghai),
    );
    const { body } = await scene.client.publish({ body: 1, ...message }, at(cities.shanghai));
    const meant = set === '' ? explained.candidates[0]?.set : set;
    expect(body).toMatchObject({ set: meant, route: { reason } });
    const again = await scene.client.publish({ body: 2, ...message }, at(cities.newYork));
    expect(again.body.set).toBe(meant);
  });

  it('delivers a raw body byte for byte, signed, with its headers', async () => {
    const bytes = randomBytes(300);
    const { status, body } = await scene.client.post('/v1/topics/events/messages', bytes, {
      ...at(cities.berlin),
      'content-type': 'image/png',
      'setway-tag': 'plain',
      'setway-key': 'user-9',
      'setway-header-x-shop': 'number 7',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
    expect(status).toBe(202);
    const { headers, body: received } = await call(body.id, '/plain');
    expect(received.equals(bytes)).toBe(true);
    expect(headers).toMatchObject({
      'content-type': 'image/png',
      'setway-topic': 'events',
      'setway-subscription': 'plain',
      'setway-tag': 'plain',
      'setway-key': 'user-9',
      'setway-set': 'frankfurt',
      'setway-attempt': '1',
      'x-shop': 'number 7',
      'webhook-id': body.id,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
    expect(await scene.client.message(body.id, areDeliveries('DONE', 'plain'))).toMatchObject({ size: 300 });
  });

  it('signs so that an independent receiver verifies, with every secret of a rotation', async () => {
    const { body } = await scene.client.publish({ topic: 'events', tag: 'rotating', body: { n: 1 } });
    const received = await call(body.id, '/rotating');
    for (const name of ['inventory', 'receipt'])
      expect(verified(received, secretOf(scene.deployment.seed, name))).toEqual({ n: 1 });
    expect(() => verified(received, secretOf(scene.deployment.seed, 'plain'))).toThrow(/signature/i);
    const forged = { ...received, body: Buffer.from('{"n":2}') };
    expect(() => verified(forged, secretOf(scene.deployment.seed, 'inventory'))).toThrow(/signature/i);
  });

  it.each([
    [
      'binary',
      { 'content-type': 'application/json', ...prefixed(event) },
      '{"n":1}',
      { 'content-type': 'application/json' },
    ],
    [
      'structured',
      { 'content-type': 'application/cloudevents+json' },
      JSON.stringify({ ...event, data: { n: 1 } }),
      {},
    ],
  ] as const)('takes a CloudEvent in %s mode', async (_mode, headers, body, _type) => {
    const published = await scene.client.post('/v1/topics/events/messages', body, { ...headers });
    expect(published.status).toBe(202);
    const received = await call(published.body.id, '/plain');
    expect(received.body.toString()).toBe('{"n":1}');
    expect(received.headers).toMatchObject({
      'setway-tag': 'plain',
      'setway-key': 'user-7',
      'ce-id': 'A-1',
      'ce-source': '/shop',
      'ce-type': 'plain',
    });
    verified(received, secretOf(scene.deployment.seed, 'plain'));
  });

  it('delivers CloudEvents in binary mode', async () => {
    const { body } = await scene.client.publish({ topic: 'events', tag: 'binary', key: 'k', body: { n: 3 } });
    const received = await call(body.id, '/binary');
    expect(received.headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-id': body.id,
      'ce-source': '/topics/events',
      'ce-type': 'binary',
      'ce-partitionkey': 'k',
      'content-type': 'application/json',
    });
    expect(verified(received, secretOf(scene.deployment.seed, 'binary'))).toEqual({ n: 3 });
  });

  it('delivers CloudEvents in structured mode', async () => {
    const { body } = await scene.client.publish({ topic: 'events', tag: 'structured', body: { n: 4 } });
    const received = await call(body.id, '/structured');
    expect(received.headers['content-type']).toMatch(/^application\/cloudevents\+json/);
    expect(verified(received, secretOf(scene.deployment.seed, 'structured'))).toMatchObject({
      specversion: '1.0',
      id: body.id,
      source: '/topics/events',
      type: 'structured',
      datacontenttype: 'application/json',
      data: { n: 4 },
    });
  });

  it('waits for the broker’s confirm when asked to', async () => {
    const { body, headers } = await scene.client.publish(order('wait'), { prefer: 'wait=5' });
    expect(body.state).toBe('confirmed');
    expect(headers.get('preference-applied')).toBe('wait=5');
  });

  it('says that a message nobody listens to is unroutable, at once and later', async () => {
    const waited = await scene.client.publish({ topic: 'payments', body: 1 }, { prefer: 'wait=5' });
    expect(waited.body.state).toBe('unroutable');
    const { body } = await scene.client.publish({ topic: 'events', tag: 'nobody', body: 1 });
    expect(body.state).toBe('stored');
    const message = await scene.client.message(body.id, ({ state }) => state === 'UNROUTABLE');
    expect(message).toMatchObject({ error: expect.stringMatching(/no queue/i) as string, deliveries: [] });
  });
});

function prefixed(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value]));
}
