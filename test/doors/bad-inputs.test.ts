import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openEdge } from './edge.ts';
import type { Edge } from './edge.ts';

const json = { 'content-type': 'application/json' };
const maxBodyBytes = 4096;

interface Bad {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream;
}

async function sendBad(edge: Edge, bad: Bad): Promise<Response> {
  const { path = '/v1/messages', method = 'POST', headers = json, body } = bad;
  return edge.send(path, {
    method,
    key: edge.keyFor(['publish', 'read']),
    headers,
    ...(body === undefined ? {} : { body, duplex: 'half' }),
  });
}

/** What came of it, and whether the edge is as good as before. */
async function consequences(edge: Edge, bad: Bad): Promise<object> {
  const answer = await sendBad(edge, bad);
  const problem = (await answer.json()) as { status: number; type: string };
  const reachedPublisher = edge.published.length;
  const next = await edge.publishGood();
  return {
    status: answer.status,
    contentType: answer.headers.get('content-type'),
    problem: { status: problem.status, isTyped: problem.type.startsWith('/problems/') },
    reachedPublisher,
    nextGoodRequest: next.status,
  };
}

/** The rule of the whole table: a problem of this status, nothing published, and the next good request works. */
function refusal(status: number): object {
  return {
    status,
    contentType: 'application/problem+json',
    problem: { status, isTyped: true },
    reachedPublisher: 0,
    nextGoodRequest: 202,
  };
}

function chunked(size: number): ReadableStream {
  let left = size;
  return new ReadableStream({
    pull(controller) {
      const part = Math.min(left, 1000);
      controller.enqueue(new Uint8Array(part).fill(0x20));
      left -= part;
      if (left === 0) controller.close();
    },
  });
}

function aborted(): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('{"topic":'));
      controller.error(new Error('connection reset'));
    },
  });
}

const publish = (fields: object): Bad => ({ body: JSON.stringify({ topic: 'orders', body: 1, ...fields }) });
const raw = (headers: Record<string, string>, topic = 'orders'): Bad => ({
  path: `/v1/topics/${topic}/messages`,
  headers,
  body: 'x',
});

const table: readonly (readonly [string, number, Bad])[] = [
  // transport
  [
    'a body one byte over the limit, announced',
    413,
    { headers: { ...json, 'content-length': String(maxBodyBytes + 1) }, body: ' '.repeat(maxBodyBytes + 1) },
  ],
  ['a body one byte over the limit, chunked', 413, { body: chunked(maxBodyBytes + 1) }],
  [
    'a body that is longer than announced',
    413,
    { headers: { ...json, 'content-length': '5' }, body: ' '.repeat(maxBodyBytes + 1) },
  ],
  ['a content length that is no number', 413, { headers: { ...json, 'content-length': 'many' }, body: '{}' }],
  ['a body that breaks off', 408, { body: aborted() }],
  ['a gzip body', 415, { headers: { ...json, 'content-encoding': 'gzip' }, body: 'x' }],
  ['a gzip body on the raw door', 415, raw({ 'content-encoding': 'gzip' })],
  ['no content type', 415, { headers: {}, body: new Uint8Array([0x7b, 0x7d]) }],
  ['a form', 415, { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' }],
  ['another charset', 415, { headers: { 'content-type': 'application/json; charset=gbk' }, body: '{}' }],
  ['UTF-16', 415, { headers: { 'content-type': 'application/json;charset="utf-16"' }, body: '{}' }],
  ['a URL over 16 KB', 414, { path: `/v1/messages?${'a'.repeat(16_384)}`, body: '{}' }],
  ['a URL over 16 KB nowhere', 414, { path: `/${'a'.repeat(16_384)}`, body: '{}' }],
  ['headers over 32 KB', 431, { headers: { ...json, 'x-long': 'a'.repeat(32_768) }, body: '{}' }],
  ['a wrong method', 405, { method: 'PUT', body: '{}' }],
  ['a wrong method on a pattern', 405, { method: 'GET', path: '/v1/topics/orders/messages' }],
  ['a double slash', 404, { path: '//v1/messages', body: '{}' }],
  ['a double slash inside', 404, { path: '/v1//messages', body: '{}' }],
  ['a slash at the end', 404, { path: '/v1/messages/', body: '{}' }],
  ['an escaped letter', 404, { path: '/v1/%6dessages', body: '{}' }],
  ['an escaped slash', 404, { path: '/v1%2fmessages', body: '{}' }],
  ['escaped dots', 404, { path: '/v1/x/%2e%2e/%2e%2e/messages', body: '{}' }],
  ['another case', 404, { path: '/V1/Messages', body: '{}' }],
  // JSON
  ['bad JSON', 400, { body: '{"topic":' }],
  ['an empty body', 400, { body: '' }],
  ['no body at all', 400, {}],
  ['a byte order mark', 400, { body: '\ufeff{"topic":"orders","body":1}' }],
  ['an array', 400, { body: '[]' }],
  ['null', 400, { body: 'null' }],
  [
    'invalid UTF-8',
    400,
    {
      body: Buffer.concat([
        Buffer.from('{"topic":"orders","body":"'),
        Buffer.from([0xc3, 0x28]),
        Buffer.from('"}'),
      ]),
    },
  ],
  ['65 levels', 422, { body: `{"topic":"orders","body":${'['.repeat(64)}${']'.repeat(64)}}` }],
  ['__proto__', 422, { body: '{"topic":"orders","body":1,"__proto__":{"mode":"fast"}}' }],
  ['constructor inside', 422, publish({ body: JSON.parse('{"constructor":1}') as unknown })],
  ['an unknown field', 422, publish({ tpoic: 'x' })],
  ['1e400', 422, { body: '{"topic":"orders","body":1e400}' }],
  ['an integer beyond 2^53', 422, { body: '{"topic":"orders","body":9007199254740993}' }],
  ['a lone surrogate', 422, { body: String.raw`{"topic":"orders","body":"\ud800"}` }],
  ['a doubled member', 422, { body: '{"topic":"orders","topic":"orders","body":1}' }],
  // names, keys, headers
  ['a NUL in a topic', 422, publish({ topic: 'a\0' })],
  ['a routing key of 256 bytes', 422, publish({ tag: 'a'.repeat(256) })],
  ['a name of the broker', 422, publish({ topic: 'amq.direct' })],
  ['a name of the broker in the path', 422, raw({}, 'amq.direct')],
  ['a homoglyph', 422, publish({ topic: 'оrders' })],
  ['a wildcard', 422, publish({ tag: 'eu.*' })],
  ['a wildcard in the path', 422, raw({}, '*')],
  ['an empty key', 422, publish({ key: '' })],
  ['a line break in a header', 422, publish({ headers: { 'x-a': 'b\r\nc: d' } })],
  ['a header that is not Latin-1', 422, publish({ headers: { 'x-a': '你' } })],
  ['the host header', 422, publish({ headers: { Host: 'x' } })],
  ['CC', 422, publish({ headers: { CC: 'other' } })],
  ['webhook-id', 422, publish({ headers: { 'webhook-id': 'x' } })],
  ['webhook-id on the raw door', 422, raw({ 'setway-header-webhook-id': 'x' })],
  ['an unknown Setway header', 422, raw({ 'setway-topic': 'x' })],
  [
    '101 headers',
    422,
    publish({ headers: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`h${i}`, ''])) }),
  ],
  ['an empty idempotency key', 422, { ...publish({}), headers: { ...json, 'idempotency-key': '' } }],
  [
    'an idempotency key of 256 bytes',
    422,
    { ...publish({}), headers: { ...json, 'idempotency-key': 'k'.repeat(256) } },
  ],
  [
    'an idempotency key with a space',
    422,
    { ...publish({}), headers: { ...json, 'idempotency-key': 'a b' } },
  ],
];

describe('a bad request', () => {
  it.each(table)('%s → %d', async (_, status, bad) => {
    const edge = openEdge({ limits: { maxBodyBytes, maxBulkBytes: maxBodyBytes } });
    expect(await consequences(edge, bad)).toEqual(refusal(status));
  });

  it('of 100,000 keys → 422', async () => {
    const edge = openEdge({ limits: { maxBodyBytes: 4 * 1024 * 1024, maxBulkBytes: 0 } });
    const body = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`k${i}`, i]));
    expect(await consequences(edge, publish({ body }))).toEqual(refusal(422));
  });

  it('names the nearest field for an unknown one', async () => {
    const problem = (await (await sendBad(openEdge(), publish({ topick: 'x' }))).json()) as object;
    expect(problem).toMatchObject({
      errors: [{ at: '/topick', detail: 'There is no such field. Did you mean "topic"?' }],
    });
  });

  it('says with a 405 what is offered', async () => {
    const answer = async (path: string) =>
      (await sendBad(openEdge(), { method: 'PUT', path })).headers.get('allow');
    expect(await answer('/v1/messages')).toBe('POST, GET, HEAD');
    expect(await answer('/health/live')).toBe('GET, HEAD');
    expect(await answer('/v1/messages/msg_1')).toBe('GET, HEAD, DELETE, PATCH');
  });

  it('at the limits is a good one', async () => {
    const edge = openEdge({ limits: { maxBodyBytes, maxBulkBytes: maxBodyBytes } });
    const exact = `{"topic":"orders","body":1}`.padEnd(maxBodyBytes, ' ');
    expect((await sendBad(edge, { body: exact })).status).toBe(202);
    expect(
      (await sendBad(edge, { headers: { 'content-type': 'application/json; charset=UTF-8' }, body: exact }))
        .status,
    ).toBe(202);
    expect(
      (await sendBad(edge, { headers: { ...json, 'content-encoding': 'identity' }, body: exact })).status,
    ).toBe(202);
    expect(edge.published).toHaveLength(3);
  });
});

describe('whatever comes', () => {
  it('bytes or JSON, the JSON door never fails on our side', async () => {
    const edge = openEdge();
    const key = edge.keyFor(['publish']);
    const document = fc.json({ maxDepth: 6 }).map((text) => Buffer.from(text));
    const near = fc
      .record(
        {
          topic: fc.oneof(fc.constant('orders'), fc.string({ unit: 'binary' })),
          tag: fc.jsonValue(),
          key: fc.string({ unit: 'binary' }),
          mode: fc.jsonValue(),
          body: fc.jsonValue(),
          bodyBase64: fc.string(),
          contentType: fc.string(),
          headers: fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })),
          route: fc.jsonValue(),
        },
        { requiredKeys: [] },
      )
      .map((fields) => Buffer.from(JSON.stringify(fields)));
    const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
    await fc.assert(
      fc.asyncProperty(fc.oneof(document, near, bytes), async (body) => {
        const answer = await edge.send('/v1/messages', { method: 'POST', key, headers: json, body });
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 500 },
    );
    expect(edge.log).toEqual([]);
  });

  it('in names, headers and bytes, the raw door never fails on our side', async () => {
    const edge = openEdge();
    const key = edge.keyFor(['publish']);
    const value = fc
      .string({ unit: 'binary-ascii' })
      .map((text) => text.replaceAll(/[^\x20-\x7e]/g, '').trim());
    const name = fc.constantFrom(
      'setway-tag',
      'setway-key',
      'setway-mode',
      'setway-set',
      'setway-header-x',
      'ce-id',
      'ce-specversion',
      'ce-source',
      'ce-type',
      'ce-time',
      'content-type',
      'prefer',
      'idempotency-key',
      'traceparent',
      'setway-latitude',
    );
    const headers = fc.dictionary(name, fc.oneof(value, fc.constant('1.0')));
    await fc.assert(
      fc.asyncProperty(headers, fc.webSegment(), fc.uint8Array(), async (some, topic, body) => {
        const path = `/v1/topics/${topic}/messages`;
        const answer = await edge.send(path, { method: 'POST', key, headers: some, body: Buffer.from(body) });
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 500 },
    );
    expect(edge.log).toEqual([]);
  });
});
