/** What the doors of sequences and batches refuse, before anything is offered; and the next good request works. */
import { describe, expect, it } from 'vitest';
import { mintMessageId } from '../../shared/identifier.ts';
import type { Publisher } from '../../shared/publish/publisher.ts';
import { openEdge, unasked, type Edge } from './edge.ts';

const json = { 'content-type': 'application/json' };
const item = { body: 1 };
const many = (amount: number): readonly object[] => Array.from({ length: amount }, () => item);
const numbered = (...numbers: readonly unknown[]): readonly object[] =>
  numbers.map((sequence) => ({ ...item, sequence }));

interface Refusal {
  readonly type: string;
  readonly errors?: readonly { readonly at: string; readonly detail: string }[];
}

async function post(edge: Edge, path: string, body: string): Promise<{ status: number; body: Refusal }> {
  const key = edge.keyFor(['publish']);
  const answer = await edge.send(path, { method: 'POST', key, headers: json, body });
  return { status: answer.status, body: (await answer.json()) as Refusal };
}

async function refused(path: string, body: string): Promise<{ status: number; body: Refusal }> {
  const edge = openEdge();
  const answer = await post(edge, path, body);
  expect(edge.published).toEqual([]);
  expect((await edge.publishGood()).status).toBe(202);
  return answer;
}

describe('a sequence', () => {
  const messages = many(2);

  it.each([
    ['no items', { messages: [] }, '/messages'],
    ['more items than the maximum', { messages: many(501) }, '/messages'],
    ['a size that is not the number of items', { messages, size: 3 }, '/size'],
    ['a negative size', { messages, size: -2 }, '/size'],
    ['a fractional size', { messages, size: 2.5 }, '/size'],
    ['a size in a text', { messages, size: '2' }, '/size'],
    ['a repeated number', { messages: numbered(1, 2, 1) }, '/messages/2/sequence'],
    ['number 0', { messages: numbered(0, 1) }, '/messages/0/sequence'],
    ['a negative number', { messages: numbered(-1, 1) }, '/messages/0/sequence'],
    ['a fractional number', { messages: numbered(1, 1.5) }, '/messages/1/sequence'],
    ['a number in a text', { messages: numbered(1, '2') }, '/messages/1/sequence'],
    ['a number beyond the items', { messages: numbered(1, 3) }, '/messages/1/sequence'],
    ['numbers on some items only', { messages: [...numbered(1), item] }, '/messages'],
    ['a deadline of nothing', { messages, deadline: 0 }, '/deadline'],
    ['a deadline beyond 30 days', { messages, deadline: '31d' }, '/deadline'],
    ['a deadline that is none', { messages, deadline: 'soon' }, '/deadline'],
    ['an unknown policy', { messages, onGap: 'ignore' }, '/onGap'],
    ['a name with a space', { messages, session: 'a b' }, '/session'],
    ['an item with a delay', { messages: [{ ...item, deliverAfter: 5 }] }, '/messages/0/deliverAfter'],
    ['a bad item among good ones', { messages: [item, { bdy: 1 }] }, '/messages/1/bdy'],
    [
      'a callback of a topic without secrets',
      { messages, gapCallback: 'https://shop.example.com/g' },
      '/gapCallback',
    ],
  ])('with %s → 422', async (_what, body, at) => {
    const answer = await refused('/v1/sequences', JSON.stringify({ topic: 'orders', ...body }));
    expect(answer.status).toBe(422);
    expect(answer.body.errors?.map((fault) => fault.at)).toContain(at);
  });

  it.each(['https://127.0.0.1/g', 'https://user@shop.example.com/g', 'file:///etc/passwd', 'nonsense'])(
    'with the gap callback %s → 422',
    async (gapCallback) => {
      const answer = await refused(
        '/v1/sequences',
        JSON.stringify({ topic: 'orders', messages, gapCallback }),
      );
      expect(answer.status).toBe(422);
    },
  );

  it.each(['[]', 'null', '{', ''])('of the bytes "%s" → 400', async (body) => {
    expect((await refused('/v1/sequences', body)).status).toBe(400);
  });

  it('with numbers in any order is published in their order', async () => {
    const bodies: string[] = [];
    const publishTogether: Publisher['publishTogether'] = async (drafts) => {
      bodies.push(...drafts.map(({ body }) => Buffer.from(body).toString()));
      const id = mintMessageId({ setNumber: 1, shard: 0 }, 1_700_000_000_000);
      return drafts.map(() => ({
        id,
        state: 'stored',
        set: 'hangzhou',
        route: { reason: 'nearest' },
        duplicate: false,
      }));
    };
    const publish: Publisher['publish'] = () => Promise.reject(new Error('not asked'));
    const edge = openEdge({ publisher: { ...unasked, publish, publishTogether } });
    const unordered = [
      { body: 'b', sequence: 2 },
      { body: 'a', sequence: 1 },
    ];
    const answer = await post(
      edge,
      '/v1/sequences',
      JSON.stringify({ topic: 'orders', messages: unordered }),
    );
    expect([answer.status, bodies]).toEqual([202, ['"a"', '"b"']]);
  });
});

describe('a batch', () => {
  it.each([
    ['no items', { messages: [] }, '/messages'],
    ['more items than the maximum', { messages: many(1001) }, '/messages'],
    ['the same id twice', { messages: [{ id: 'a', ...item }, item, { id: 'a', ...item }] }, '/messages/2/id'],
    ['a bad item among good ones', { messages: [item, { bdy: 1 }] }, '/messages/1/bdy'],
    ['an order', { messages: numbered(1, 2) }, '/messages/0/sequence'],
  ])('with %s → 422', async (_what, body, at) => {
    const answer = await refused('/v1/batches', JSON.stringify({ topic: 'orders', ...body }));
    expect(answer.status).toBe(422);
    expect(answer.body.errors?.map((fault) => fault.at)).toContain(at);
  });
});
