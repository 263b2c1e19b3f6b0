import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readBatch } from '../../shared/message/batch-draft.ts';
import { decodeBatch } from '../../shared/message/batch.ts';
import { Problem } from '../../shared/problem.ts';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const reading = { nowMs, maxBodyBytes: 1_048_576 };
const read = (batch: object) => readBatch({ topic: 'orders', ...batch }, reading);

function faultsOf(attempt: () => unknown): readonly string[] {
  try {
    attempt();
    return [];
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'invalid-request') throw error;
    return (error.extras.faults ?? []).map(({ at, detail }) => `${at}: ${detail}`);
  }
}

describe('a batch', () => {
  it('is one message whose body gives every item back', () => {
    const draft = read({
      tag: 'eu.import',
      key: 'user-1',
      session: 'import-17',
      headers: { 'X-Shop': '7' },
      deliverAfter: '10m',
      messages: [
        { id: 'a', tag: 'x', body: { n: 1 }, headers: { 'X-Line': '1' } },
        { body: 'text', contentType: 'text/plain; charset=utf-8' },
        { bodyBase64: 'AP+A', contentType: 'image/png' },
        { bodyBase64: 'eyJuIjoxfQ==', contentType: 'application/json' },
        { body: null },
      ],
    });
    expect(draft).toMatchObject({
      topic: 'orders',
      tag: 'eu.import',
      key: 'user-1',
      mode: 'confirm',
      contentType: 'application/vnd.setway.batch+json',
      headers: { 'x-shop': '7' },
      due: { afterMs: 600_000 },
      batch: { session: 'import-17', size: 5 },
    });
    const items = decodeBatch(draft.body);
    expect(items.map(({ bytes }) => Buffer.from(bytes).toString('latin1'))).toEqual([
      '{"n":1}',
      'text',
      '\0\xff\x80',
      '{"n":1}',
      'null',
    ]);
    expect(items[0]).toMatchObject({
      id: 'a',
      tag: 'x',
      contentType: 'application/json',
      headers: { 'x-line': '1' },
    });
    expect(items[1]).toMatchObject({
      id: null,
      tag: null,
      contentType: 'text/plain; charset=utf-8',
      headers: {},
    });
  });

  it('keeps any JSON value and any bytes as they are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.jsonValue(), fc.uint8Array()), { minLength: 1, maxLength: 9 }),
        (given) => {
          const messages = given.map((value) =>
            value instanceof Uint8Array
              ? { bodyBase64: Buffer.from(value).toString('base64') }
              : { body: value },
          );
          const items = decodeBatch(read({ messages }).body);
          expect(items.map(({ bytes }) => Buffer.from(bytes).toString('hex'))).toEqual(
            given.map((value) =>
              Buffer.from(value instanceof Uint8Array ? value : JSON.stringify(value)).toString('hex'),
            ),
          );
        },
      ),
    );
  });

  it('has a session of its own, the same for a retry under the same key', () => {
    const messages = [{ body: 1 }];
    const sessionOf = (fingerprint?: string) =>
      readBatch(
        { topic: 'orders', messages },
        { ...reading, ...(fingerprint === undefined ? {} : { idempotency: { key: 'k', fingerprint } }) },
      ).batch.session;
    expect(sessionOf()).toMatch(/^ses_/);
    expect(sessionOf()).not.toBe(sessionOf());
    expect(sessionOf('a')).toBe(sessionOf('a'));
    expect(sessionOf('a')).not.toBe(sessionOf('b'));
  });

  const good = { body: 1 };
  it.each<[string, object, readonly string[]]>([
    ['no items', { messages: [] }, ['/messages: At least 1 item.']],
    [
      'too many items',
      { messages: Array.from({ length: 1001 }, () => good) },
      ['/messages: At most 1000 items.'],
    ],
    [
      'the same id twice',
      { messages: [{ id: 'a', ...good }, good, { id: 'a', ...good }, { id: 'a', ...good }] },
      [
        '/messages/2/id: Items 0 and 2 have the same id "a".',
        '/messages/3/id: Items 0 and 3 have the same id "a".',
      ],
    ],
    [
      'bad items',
      { messages: [good, {}, { body: 1, contentType: 'text/plain' }, { bodyBase64: '!' }] },
      [
        '/messages/1/body: Send exactly one of body and bodyBase64.',
        '/messages/2/body: A body of type text/plain is a string, or use bodyBase64.',
        '/messages/3/bodyBase64: Base64 with padding (RFC 4648 §4), without line breaks.',
      ],
    ],
    [
      'a header of the transport in an item',
      { messages: [good, { ...good, headers: { host: 'x' } }] },
      ['/messages/1/headers/host: This header is set by Setway or by the transport. Choose another name.'],
    ],
    ['a mode', { mode: 'fast', messages: [good] }, ['/mode: There is no such field.']],
    [
      'an unknown field of an item',
      { messages: [{ ...good, bdy: 1 }] },
      ['/messages/0/bdy: There is no such field.'],
    ],
    [
      'a delay that is none',
      { deliverAfter: -1, messages: [good] },
      [expect.stringMatching(/^\/deliverAfter: /) as string],
    ],
    [
      'a bad session',
      { session: 'a b', messages: [good] },
      [expect.stringMatching(/^\/session: /) as string],
    ],
    ['a bad topic', { topic: 'a..b', messages: [good] }, [expect.stringMatching(/^\/topic: /) as string]],
  ])('with %s is refused by place', (_name, batch, faults) => {
    expect(faultsOf(() => read(batch))).toEqual(faults);
  });

  it('that is too large as one message is refused with the figure', () => {
    const messages = Array.from({ length: 11 }, () => ({ bodyBase64: 'A'.repeat(100_000) }));
    expect(() => read({ messages })).toThrow(
      expect.objectContaining({
        kind: 'too-large',
        message: expect.stringMatching(/has 1100\d{3} bytes; a message has at most 1048576\. /) as string,
      }),
    );
  });

  it.each(['{}', '1', '[1]', 'x', ''])('is not made of %j', (text) => {
    expect(() => decodeBatch(Buffer.from(text))).toThrow(expect.objectContaining({ kind: 'invalid-json' }));
  });
});
