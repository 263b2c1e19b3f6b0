import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { mintMessageId } from '../../shared/identifier.ts';
import { decodeArray, encodeArray, readFailed } from '../../shared/message/array.ts';
import type { Message } from '../../shared/message/message.ts';

function messageOf(overrides: Partial<Message>): Message {
  return {
    id: mintMessageId({ setNumber: 1, shard: 0 }, 1_760_000_000_000),
    owner: 'acme',
    topic: 'orders',
    mode: 'confirm',
    body: new Uint8Array(),
    contentType: 'application/json',
    headers: {},
    acceptedAtMs: 0,
    placement: { set: 'hangzhou', reason: 'nearest' },
    ...overrides,
  };
}

describe('an array of messages', () => {
  it.each([
    ['JSON', '{"a":[1,"ü"],"b":null}'],
    ['JSON that is written another way', '{ "a": 1.0, "b": 2e3 }'],
    ['JSON with a key twice', '{"a":1,"a":2}'],
    ['JSON that writing changes', '{"a":12345678901234567890}'],
    ['a lone surrogate in JSON', String.raw`"\ud800"`],
    ['no JSON', 'plain text'],
    ['nothing', ''],
  ])('gives back every byte of %s', (_, text) => {
    const message = messageOf({ body: Buffer.from(text) });
    const [item] = decodeArray(encodeArray([{ message, attempt: 1, delivery: 'd' }])) ?? [];
    expect(Buffer.from(item?.bytes ?? []).toString()).toBe(text);
  });

  it('gives back bytes that are no text, and says of each what it would have said alone', () => {
    const message = messageOf({
      body: Buffer.from([0xff, 0xfe, 0x00]),
      contentType: 'image/png',
      tag: 'eu',
      key: 'user-1',
      headers: { 'x-shop': '7' },
      batch: { session: 's', size: 3 },
    });
    const [item] = decodeArray(encodeArray([{ message, attempt: 4, delivery: 'd' }])) ?? [];
    expect([...(item?.bytes ?? [])]).toEqual([0xff, 0xfe, 0x00]);
    expect(item).toMatchObject({
      id: message.id,
      headers: {
        'x-shop': '7',
        'content-type': 'image/png',
        'setway-attempt': '4',
        'setway-delivery': 'd',
        'setway-tag': 'eu',
        'setway-key': 'user-1',
        'setway-session': 's',
        'setway-size': '3',
      },
    });
  });

  it.each(['', '{}', '[{}]', '[1]', 'null'])('is not "%s"', (text) =>
    expect(decodeArray(Buffer.from(text))).toBeUndefined(),
  );
});

describe('what a receiver says of an array', () => {
  it.each([
    ['{"failed":["a",{"id":"b","error":"x","retryAfter":5},{"id":"c","nonRetryable":true}]}', 3],
    ['{"failed":[]}', 0],
    ['{"failed":"a"}', 0],
    ['{"failed":[1,null,{}]}', 0],
    ['OK', 0],
    ['', 0],
    ['null', 0],
  ])('%s names %i', (text, amount) => expect(readFailed(text)).toHaveLength(amount));
});
