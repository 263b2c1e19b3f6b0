import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { mintMessageId } from '../../shared/identifier.ts';
import { Problem } from '../../shared/problem.ts';
import { openEdge, recordOf, unasked } from './edge.ts';

const json = { 'content-type': 'application/json' };
const body = '{"topic":"orders","key":"user-42","body":{"order":4711}}';

describe('publishing', () => {
  it('answers 202 with id, state, SET and reason, and says where to look', async () => {
    const edge = openEdge();
    const answer = await edge.send('/v1/messages', {
      method: 'POST',
      key: edge.keyFor(['publish']),
      headers: json,
      body,
    });
    expect(answer.status).toBe(202);
    const published = (await answer.json()) as { id: string };
    expect(published).toEqual({
      id: expect.stringMatching(/^msg_/) as string,
      state: 'stored',
      set: 'hangzhou',
      route: { reason: 'nearest', distanceKm: 3 },
      duplicate: false,
    });
    expect(answer.headers.get('location')).toBe(`/v1/messages/${published.id}`);
    expect(answer.headers.get('preference-applied')).toBeNull();
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(edge.published).toEqual([
      {
        draft: {
          topic: 'orders',
          key: 'user-42',
          mode: 'confirm',
          body: Buffer.from('{"order":4711}'),
          contentType: 'application/json',
          headers: {},
        },
        context: { owner: 'shop', waitMs: 0 },
      },
    ]);
  });

  it.each([
    ['wait=5', 5_000, 'wait=5'],
    ['respond-async, wait=3', 3_000, 'wait=3'],
    ['wait=3600', 10_000, 'wait=10'],
    ['wait=0', 0, 'wait=0'],
    ['wait=-1', 0, null],
    ['wait=soon', 0, null],
    ['return=minimal', 0, null],
  ])('Prefer: %s waits %d ms', async (prefer, waitMs, applied) => {
    const edge = openEdge();
    const answer = await edge.send('/v1/messages', {
      method: 'POST',
      key: edge.keyFor(['publish']),
      headers: { ...json, prefer },
      body,
    });
    expect(edge.published[0]?.context.waitMs).toBe(waitMs);
    expect(answer.headers.get('preference-applied')).toBe(applied);
  });

  it('fingerprints what decides about the message, and nothing else', async () => {
    const edge = openEdge();
    const key = edge.keyFor(['publish'], { maySetPlace: true });
    const fingerprint = async (path: string, headers: Record<string, string>, text: string) => {
      await edge.send(path, {
        method: 'POST',
        key,
        headers: { 'content-type': 'text/plain', 'idempotency-key': 'k1', ...headers },
        body: text,
      });
      return edge.published.at(-1)?.context.idempotency?.fingerprint;
    };
    const raw = '/v1/topics/orders/messages';
    const first = await fingerprint(raw, {}, 'a');
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(await fingerprint(raw, { 'user-agent': 'other', 'idempotency-key': 'k2' }, 'a')).toBe(first);
    const place = { 'setway-latitude': '30.25', 'setway-longitude': '120.17' };
    expect(await fingerprint(raw, place, 'a')).toBe(first);
    const others = [
      await fingerprint(raw, {}, 'b'),
      await fingerprint(raw, { 'content-type': 'text/html' }, 'a'),
      await fingerprint(raw, { 'setway-tag': 'x' }, 'a'),
      await fingerprint('/v1/topics/invoices/messages', {}, 'a'),
    ];
    expect(new Set([first, ...others]).size).toBe(5);
    expect(edge.published[0]?.context.idempotency?.key).toBe('k1');
    expect(edge.published).toHaveLength(7);
  });

  it('passes a valid trace context on and ignores a wrong one', async () => {
    const edge = openEdge();
    const key = edge.keyFor(['publish']);
    const trace = '0af7651916cd43dd8448eb211c80319c';
    const send = (traceparent: string) =>
      edge.send('/v1/messages', { method: 'POST', key, headers: { ...json, traceparent }, body });
    const good = await send(`00-${trace}-b7ad6b7169203331-01`);
    expect(edge.published[0]?.context.traceparent).toBe(`00-${trace}-b7ad6b7169203331-01`);
    expect(good.headers.get('x-request-id')).toBe(trace);
    await send(`cc-${trace}-b7ad6b7169203331-01-more`);
    expect(edge.published[1]?.context.traceparent).toBe(`00-${trace}-b7ad6b7169203331-01`);
    for (const wrong of [
      `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
      `ff-${trace}-b7ad6b7169203331-01`,
      `00-${trace}-b7ad6b7169203331-01-more`,
      'x',
    ]) {
      const answer = await send(wrong);
      expect(answer.status).toBe(202);
      expect(edge.published.at(-1)?.context).not.toHaveProperty('traceparent');
      expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/);
    }
  });

  it('takes the place from the platform, and from the request when the key allows it', async () => {
    const edge = openEdge();
    const post = (key: string, headers: Record<string, string>) =>
      edge.send('/v1/messages', { method: 'POST', key, headers: { ...json, ...headers }, body });
    const plain = edge.keyFor(['publish']);
    await post(plain, { 'x-vercel-ip-latitude': '50.1', 'x-vercel-ip-longitude': '8.6' });
    expect(edge.published[0]?.context.place).toEqual({ latitude: 50.1, longitude: 8.6 });
    const own = { 'setway-latitude': '30.25', 'setway-longitude': '120.17' };
    expect((await post(plain, own)).status).toBe(403);
    await post(edge.keyFor(['publish'], { maySetPlace: true }), own);
    expect(edge.published[1]?.context.place).toEqual({ latitude: 30.25, longitude: 120.17 });
    expect(edge.published).toHaveLength(2);
  });

  it('keeps a raw body byte for byte', async () => {
    const edge = openEdge();
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const answer = await edge.send('/v1/topics/orders/messages', {
      method: 'POST',
      key: edge.keyFor(['publish']),
      headers: { 'content-type': 'image/png', 'setway-mode': 'fast', 'setway-header-x-shop': '7' },
      body: bytes,
    });
    expect(answer.status).toBe(202);
    const draft = edge.published[0]?.draft;
    expect(draft).toMatchObject({ mode: 'fast', contentType: 'image/png', headers: { 'x-shop': '7' } });
    expect(
      createHash('sha256')
        .update(draft?.body ?? '')
        .digest('hex'),
    ).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('takes CloudEvents in both modes', async () => {
    const edge = openEdge();
    const key = edge.keyFor(['publish']);
    const event = { specversion: '1.0', id: 'A1', source: '/shop', type: 'order.created', data: { n: 1 } };
    await edge.send('/v1/topics/orders/messages', {
      method: 'POST',
      key,
      headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
      body: JSON.stringify(event),
    });
    await edge.send('/v1/topics/orders/messages', {
      method: 'POST',
      key,
      headers: {
        ...json,
        'ce-specversion': '1.0',
        'ce-id': 'A1',
        'ce-source': '/shop',
        'ce-type': 'order.created',
      },
      body: '{"n":1}',
    });
    expect(edge.published).toHaveLength(2);
    const [first, second] = edge.published.map(({ draft }) => ({
      ...draft,
      body: Buffer.from(draft.body).toString(),
    }));
    expect(first).toMatchObject({ tag: 'order.created', body: '{"n":1}' });
    expect(second).toEqual(first);
    const batch = await edge.send('/v1/topics/orders/messages', {
      method: 'POST',
      key,
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify([event]),
    });
    expect(batch.status).toBe(415);
  });

  it('hands the publisher’s problem on, with Retry-After', async () => {
    const edge = openEdge({
      publisher: {
        ...unasked,
        publish: () =>
          Promise.reject(new Problem('set-unavailable', 'All SETs are down.', { retryAfterSeconds: 2.5 })),
      },
    });
    const answer = await edge.publishGood();
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('3');
    expect(await answer.json()).toMatchObject({
      type: '/problems/set-unavailable',
      detail: 'All SETs are down.',
    });
  });

  it('hides what broke inside, and logs it without secrets', async () => {
    const edge = openEdge({
      publisher: {
        ...unasked,
        publish: () =>
          Promise.reject(new Error('connect postgres://setway:hunter2@db/x with whsec_c2VjcmV0')),
      },
    });
    const answer = await edge.publishGood();
    const text = await answer.text();
    expect(answer.status).toBe(500);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(text).not.toContain('postgres');
    const { traceId } = JSON.parse(text) as { traceId: string };
    expect(traceId).toBe(answer.headers.get('x-request-id'));
    expect(edge.log).toMatchObject([{ traceId, route: '/v1/messages', status: 500, problem: 'internal' }]);
    expect(JSON.stringify(edge.log)).not.toMatch(/hunter2|c2VjcmV0|sk_[0-9a-z]{12}/);
  });
});

describe('looking a message up', () => {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, 1_700_000_000_000);

  it('asks the SET of the id first, and nobody else when it has it', async () => {
    const asked: string[] = [];
    const find = (set: string, has: boolean) => ({
      async find() {
        asked.push(set);
        return has ? recordOf(id) : undefined;
      },
    });
    const edge = openEdge({}, { hangzhou: find('hangzhou', true), frankfurt: find('frankfurt', true) });
    const answer = await edge.send(`/v1/messages/${id}`, { key: edge.keyFor(['read']) });
    expect(answer.status).toBe(200);
    const { owner: _, ...shown } = recordOf(id);
    expect(await answer.json()).toEqual(shown);
    expect(asked).toEqual(['hangzhou']);
  });

  it('finds it where a failover took it, also when its first SET is down', async () => {
    const edge = openEdge(
      {},
      {
        hangzhou: { find: () => Promise.reject(new Problem('database-unavailable', 'down')) },
        frankfurt: { find: async () => recordOf(id, { set: 'frankfurt' }) },
      },
    );
    const answer = await edge.send(`/v1/messages/${id}`, { key: edge.keyFor(['read']) });
    expect(await answer.json()).toMatchObject({ set: 'frankfurt' });
  });

  it('does not call a message missing while a SET that may have it is away', async () => {
    const edge = openEdge(
      {},
      { frankfurt: { find: () => Promise.reject(new Problem('database-unavailable', 'down')) } },
    );
    const answer = await edge.send(`/v1/messages/${id}`, { key: edge.keyFor(['read']) });
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('2');
  });

  it.each(['msg_x', 'nothing', `${id}a`, id.toUpperCase()])('answers 404 for %s', async (wrong) => {
    const edge = openEdge();
    expect((await edge.send(`/v1/messages/${wrong}`, { key: edge.keyFor(['read']) })).status).toBe(404);
  });

  it('answers the same 404 for another owner’s message and for none', async () => {
    const read = async (owner: string | undefined) => {
      const edge = openEdge(
        {},
        { hangzhou: { find: async () => (owner ? recordOf(id, { owner }) : undefined) } },
      );
      const answer = await edge.send(`/v1/messages/${id}`, { key: edge.keyFor(['read']) });
      return { status: answer.status, body: await answer.text() };
    };
    const foreign = await read('rival');
    expect(foreign.status).toBe(404);
    expect(foreign).toEqual(await read(undefined));
  });
});
