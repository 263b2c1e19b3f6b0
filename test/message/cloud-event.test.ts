import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mintMessageId } from '../../shared/identifier.ts';
import {
  cloudEventMode,
  readBinaryEvent,
  readStructuredEvent,
  structuredType,
  toBinaryEvent,
  toStructuredEvent,
} from '../../shared/message/cloud-event.ts';
import type { Draft, Message } from '../../shared/message/message.ts';

const required = { 'ce-specversion': '1.0', 'ce-id': 'A1', 'ce-source': '/shop', 'ce-type': 'order.created' };

function asMessage(draft: Draft): Message {
  return {
    ...draft,
    id: mintMessageId({ setNumber: 1, shard: 0 }, 1_700_000_000_000),
    owner: 'shop',
    acceptedAtMs: 1_700_000_000_000,
    placement: { set: 'hangzhou', reason: 'nearest' },
  };
}

const binary = (headers: Record<string, string>, body: Uint8Array = Buffer.from('{"n":1}')) =>
  readBinaryEvent({ topic: 'orders', headers: Object.entries(headers), body }, 0);
const structured = (event: unknown, headers: Record<string, string> = {}) =>
  readStructuredEvent(
    {
      topic: 'orders',
      headers: Object.entries({ 'content-type': structuredType, ...headers }),
      body: Buffer.from(JSON.stringify(event)),
    },
    0,
  );
const reread = (message: Message) =>
  JSON.parse(Buffer.from(toStructuredEvent(message)).toString()) as unknown;

const event = {
  specversion: '1.0',
  id: 'A1',
  source: '/shop/é',
  type: 'order.created',
  subject: '订单 "4711" 100%',
  time: '2026-02-28T10:00:00.5+08:00',
  dataschema: 'https://example.com/order.json',
  datacontenttype: 'application/json',
  partitionkey: 'user-42',
  region: 'eu',
  data: { order: 4711, total: 99.5 },
};

describe('CloudEvents in', () => {
  it('binary: attributes become headers, type the tag, partitionkey the key', () => {
    const draft = binary({ ...required, 'ce-partitionkey': 'user-42', 'content-type': 'application/json' });
    expect(draft).toMatchObject({
      topic: 'orders',
      tag: 'order.created',
      key: 'user-42',
      contentType: 'application/json',
      headers: { 'ce-id': 'A1', 'ce-source': '/shop', 'ce-type': 'order.created' },
      body: Buffer.from('{"n":1}'),
    });
  });

  it('Setway-* headers win over what attributes would say', () => {
    const draft = binary({ ...required, 'ce-partitionkey': 'a', 'Setway-Tag': 'x.y', 'Setway-Key': 'b' });
    expect(draft).toMatchObject({ tag: 'x.y', key: 'b' });
  });

  it('a type that fits no tag leaves the message without one', () => {
    expect(binary({ ...required, 'ce-type': 'order created' })).not.toHaveProperty('tag');
  });

  it('structured: data becomes the body', () => {
    const draft = structured(event, { 'Setway-Mode': 'fast' });
    expect(draft).toMatchObject({ mode: 'fast', key: 'user-42', contentType: 'application/json' });
    expect(JSON.parse(Buffer.from(draft.body).toString())).toEqual(event.data);
  });

  it('structured: data_base64 becomes bytes, text becomes UTF-8', () => {
    const { data: _, ...rest } = event;
    const bytes = structured({ ...rest, datacontenttype: 'image/png', data_base64: 'AAH/' });
    expect(bytes.body).toEqual(Buffer.from([0, 1, 255]));
    const text = structured({ ...rest, datacontenttype: 'text/plain', data: '你好' });
    expect(Buffer.from(text.body).toString()).toBe('你好');
  });

  it.each<[string, Record<string, string>]>([
    ['another version', { ...required, 'ce-specversion': '0.3' }],
    ['no id', { ...required, 'ce-id': '' }],
    ['no source', { ...required, 'ce-source': '' }],
    ['a source with a space', { ...required, 'ce-source': 'a%20b' }],
    ['no type', { ...required, 'ce-type': '' }],
    ['an empty subject', { ...required, 'ce-subject': '' }],
    ['a day that does not exist', { ...required, 'ce-time': '2026-02-30T00:00:00Z' }],
    ['a time without a zone', { ...required, 'ce-time': '2026-02-28T00:00:00' }],
    ['a name with a dash', { ...required, 'ce-my-name': '1' }],
    ['a name of 21 letters', { ...required, [`ce-${'a'.repeat(21)}`]: '1' }],
    ['broken percent-encoding', { ...required, 'ce-subject': '100%' }],
    ['broken UTF-8', { ...required, 'ce-subject': '%ff' }],
    ['a control character', { ...required, 'ce-subject': 'a%00b' }],
    ['a partition key that is no key', { ...required, 'ce-partitionkey': '%E4%BD%A0' }],
  ])('binary: refuses %s', (_, headers) => {
    expect(() => binary(headers)).toThrow(expect.objectContaining({ kind: 'invalid-request' }));
  });

  it.each<[string, unknown]>([
    ['an attribute that is an object', { ...event, region: {} }],
    ['a fractional number', { ...event, region: 1.5 }],
    ['both kinds of data', { ...event, data_base64: '' }],
    ['an object as text', { ...event, datacontenttype: 'text/plain' }],
    ['upper-case names', { ...event, Region: 'x' }],
  ])('structured: refuses %s', (_, value) => {
    expect(() => structured(value)).toThrow(expect.objectContaining({ kind: 'invalid-request' }));
  });

  it('structured: a list is no event', () => {
    expect(() => structured([event])).toThrow(expect.objectContaining({ kind: 'invalid-json' }));
  });

  it('is recognised by its headers', () => {
    const mode = (headers: Record<string, string>) => cloudEventMode(new Headers(headers));
    expect(mode({ 'content-type': 'application/json' })).toBeUndefined();
    expect(mode(required)).toBe('binary');
    expect(mode({ 'content-type': 'application/cloudevents+json; charset=utf-8' })).toBe('structured');
    expect(mode({ 'content-type': 'application/cloudevents-batch+json' })).toBe('batch');
  });
});

describe('CloudEvents out', () => {
  it('a structured event comes back as it went in', () => {
    expect(reread(asMessage(structured(event)))).toEqual(event);
  });

  it('a structured event comes back through binary mode', () => {
    const message = asMessage(structured(event));
    const headers = { ...toBinaryEvent(message), 'content-type': message.contentType };
    expect(reread(asMessage(binary(headers, message.body)))).toEqual(event);
  });

  it('any text survives both modes', () => {
    const printable = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/\p{Cc}/u.test(text));
    fc.assert(
      fc.property(printable, (subject) => {
        const message = asMessage(structured({ ...event, subject }));
        const headers = new Headers({ ...toBinaryEvent(message), 'content-type': message.contentType });
        const back = readBinaryEvent({ topic: 'orders', headers, body: message.body }, 0);
        expect(reread(asMessage(back))).toEqual({ ...event, subject });
      }),
    );
  });

  it('an ordinary message gets the attributes it lacks', () => {
    const draft: Draft = {
      topic: 'orders',
      mode: 'confirm',
      key: 'user-42',
      body: Buffer.from([0, 255]),
      contentType: 'image/png',
      headers: { 'x-shop': '7' },
    };
    const message = asMessage(draft);
    expect(reread(message)).toEqual({
      specversion: '1.0',
      id: message.id,
      source: '/topics/orders',
      type: 'setway.message',
      time: '2023-11-14T22:13:20.000Z',
      partitionkey: 'user-42',
      datacontenttype: 'image/png',
      data_base64: 'AP8=',
    });
  });

  it('a body that is not what its type says travels as bytes', () => {
    const message = { ...asMessage(structured(event)), body: Buffer.from('{"cut":') };
    expect(reread(message)).toHaveProperty('data_base64', Buffer.from('{"cut":').toString('base64'));
  });
});
