import { describe, expect, it } from 'vitest';
import { Problem } from '../../shared/problem.ts';
import type { Publisher } from '../../shared/publish/publisher.ts';
import { openEdge, unasked, type Edge } from './edge.ts';

interface Result {
  readonly status: number;
  readonly id?: string;
  readonly problem?: { readonly type: string; readonly detail: string; readonly errors?: object[] };
}

const good = '{"topic":"orders","body":1}';

async function bulk(edge: Edge, body: RequestInit['body'], type = 'application/json', more = {}) {
  const answer = await edge.send('/v1/messages/bulk', {
    method: 'POST',
    key: edge.keyFor(['publish']),
    headers: { 'content-type': type, ...more },
    ...(body === undefined ? {} : { body, duplex: 'half' }),
  });
  const json = (await answer.json()) as { results: readonly Result[]; status?: number };
  return { status: answer.status, headers: answer.headers, ...json };
}

describe('bulk', () => {
  it.each([
    ['application/json', `[${good},${good}]`],
    ['application/json; charset=utf-8', ` [ ${good} , ${good} ]\n`],
    ['application/x-ndjson', `${good}\n${good}\n`],
    ['application/jsonl', `${good}\r\n\r\n${good}`],
  ])('takes %s', async (type, body) => {
    const edge = openEdge();
    const { status, results } = await bulk(edge, body, type);
    expect(status).toBe(202);
    expect(results).toMatchObject([
      { status: 202, state: 'stored', set: 'hangzhou', duplicate: false },
      { status: 202, state: 'stored' },
    ]);
    expect(edge.published).toHaveLength(2);
  });

  it('hands everything to the publisher at once, with key, fingerprint and wait', async () => {
    const calls: Parameters<Publisher['publishMany']>[] = [];
    const publishMany: Publisher['publishMany'] = async (...call) => {
      calls.push(call);
      return [];
    };
    const edge = openEdge({
      publisher: { ...unasked, publish: () => Promise.reject(new Error()), publishMany },
    });
    const more = { prefer: 'wait=3', 'idempotency-key': 'k1' };
    const { headers } = await bulk(edge, `[${good},${good},${good}]`, 'application/json', more);
    expect(headers.get('preference-applied')).toBe('wait=3');
    await bulk(edge, `[${good},${good},${good}]`, 'application/json', more);
    await bulk(edge, `[${good},${good}, ${good}]`, 'application/json', more);
    expect(calls.map(([drafts]) => drafts.length)).toEqual([3, 3, 3]);
    const contexts = calls.map(([, context]) => context);
    expect(contexts[0]).toMatchObject({ owner: 'shop', waitMs: 3000, idempotency: { key: 'k1' } });
    const [first, same, other] = contexts.map(({ idempotency }) => idempotency?.fingerprint);
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(same).toBe(first);
    expect(other).not.toBe(first);
  });

  it('gives each bad item its own problem, by its place, and publishes the rest', async () => {
    const edge = openEdge();
    const items = [
      '{"topic":"orders","body":"1"}',
      '{"topic":"orders","body":2,"tagg":"a"}',
      '1',
      '{"topic":"orders","body":9007199254740993}',
      '{"topic":"orders","mode":"fast","deliverAfter":5,"body":3}',
      `{"topic":"orders","body":${'['.repeat(64)}${']'.repeat(64)}}`,
      '{"topic":"orders","__proto__":{},"body":3}',
      '{"topic":"orders","mode":"fast","body":"2"}',
    ];
    const { status, results } = await bulk(edge, `[${items.join(',')}]`);
    expect(status).toBe(202);
    expect(results.map((result) => result.status)).toEqual([202, 422, 400, 422, 422, 422, 422, 202]);
    expect(results[1]?.problem).toMatchObject({
      type: '/problems/invalid-request',
      errors: [{ at: '/tagg', detail: 'There is no such field. Did you mean "tag"?' }],
    });
    expect(edge.published.map(({ draft }) => Buffer.from(draft.body).toString())).toEqual(['"1"', '"2"']);
    expect((await edge.publishGood()).status).toBe(202);
  });

  it('lets a bad line fail alone', async () => {
    const edge = openEdge();
    const lines = [good, '{"topic":', '', '\ufeff1', '{"a":1}}', '\xff', good];
    const { results } = await bulk(edge, Buffer.from(lines.join('\n'), 'latin1'), 'application/x-ndjson');
    expect(results.map(({ status }) => status)).toEqual([202, 400, 400, 400, 400, 202]);
    expect(edge.published).toHaveLength(2);
  });

  it('lets a message over the limit of one fail alone', async () => {
    const edge = openEdge({ limits: { maxBodyBytes: 100, maxBulkBytes: 1000 } });
    const long = JSON.stringify({ topic: 'orders', body: 'x'.repeat(100) });
    expect((await bulk(edge, `[${good},${long},${good}]`)).results.map(({ status }) => status)).toEqual([
      202, 413, 202,
    ]);
    const lines = await bulk(edge, `${long}\n${good}`, 'application/jsonl');
    expect(lines.results.map(({ status }) => status)).toEqual([413, 202]);
  });

  const many = (amount: number): string => `[${Array.from({ length: amount }, () => good).join(',')}]`;
  const limits = { maxBodyBytes: 1000, maxBulkBytes: 50_000 };
  const broken = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from(`[${good},`));
      controller.error(new Error('connection reset'));
    },
  });

  it.each<[string, number, RequestInit['body'], string?]>([
    ['no items', 422, '[]'],
    ['no lines', 422, '\n\n', 'application/x-ndjson'],
    ['an empty body', 400, ''],
    ['an object', 400, good],
    ['a byte order mark', 400, `\ufeff[${good}]`],
    ['an array that breaks off', 400, `[${good}`],
    ['an item that is no JSON', 400, `[${good},{"topic"},${good}]`],
    ['something behind the array', 400, `[${good}] x`],
    ['one item too many', 422, many(1001)],
    ['one line too many', 422, many(1001).slice(1, -1).replaceAll('},', '}\n'), 'application/jsonl'],
    ['a body over the limit', 413, `[${good},${' '.repeat(50_000)}${good}]`],
    ['a chunked body over the limit', 413, new Blob([`[${good},${' '.repeat(50_000)}`]).stream()],
    ['another type', 415, many(1), 'text/plain'],
    ['another charset', 415, many(1), 'application/x-ndjson; charset=gbk'],
    ['a body that breaks off', 408, broken],
  ])('refuses %s with %d and publishes nothing', async (_name, expected, body, type) => {
    const edge = openEdge({ limits });
    expect((await bulk(edge, body, type)).status).toBe(expected);
    expect(edge.published).toEqual([]);
    expect((await edge.publishGood()).status).toBe(202);
  });

  it('takes a thousand', async () => {
    const { results } = await bulk(openEdge(), many(1000));
    expect(results).toHaveLength(1000);
  });

  const failing = (...problems: readonly (Problem | 'taken')[]): Edge => {
    const taken = {
      id: 'msg_x' as never,
      state: 'stored',
      set: 'a',
      route: { reason: 'key' },
      duplicate: false,
    } as const;
    const publishMany: Publisher['publishMany'] = async () =>
      problems.map((each) => (each === 'taken' ? taken : each));
    return openEdge({ publisher: { ...unasked, publish: () => Promise.reject(new Error()), publishMany } });
  };
  const away = () => new Problem('set-unavailable', 'No SET can take it.', { retryAfterSeconds: 2 });

  it('answers 503 when no item could be taken anywhere', async () => {
    const { status, headers } = await bulk(failing(away(), away()), `[${good},${good}]`);
    expect(status).toBe(503);
    expect(headers.get('retry-after')).toBe('2');
  });

  it('tells item by item when some were taken, and hides what failed inside', async () => {
    const inside = new Problem('internal', 'secret');
    const { status, results } = await bulk(failing(away(), 'taken', inside), `[${good},${good},${good}]`);
    expect(status).toBe(202);
    expect(results.map((result) => result.status)).toEqual([503, 202, 500]);
    expect(JSON.stringify(results)).not.toContain('secret');
  });
});
