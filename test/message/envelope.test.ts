import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mintMessageId } from '../../shared/identifier.ts';
import type { InboundMessage, OutboundMessage } from '../../shared/message/amqp-message.ts';
import { fromInbound, toOutbound } from '../../shared/message/envelope.ts';
import type { Message } from '../../shared/message/message.ts';

/** Well-formed text of any script: a lone surrogate has no UTF-8 form and is refused at the door. */
const text = (maxLength: number) => fc.string({ unit: 'binary', maxLength });

const ids = fc
  .record({ setNumber: fc.nat(4095), shard: fc.nat(63), atMs: fc.nat(2 ** 41) })
  .map(({ atMs, ...origin }) => mintMessageId(origin, atMs));

/** `undefined` means absent. */
function withoutGaps<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

const messages = fc
  .record({
    id: ids,
    owner: text(40),
    topic: fc.stringMatching(/^[a-z][a-z0-9-]{0,60}$/),
    tag: fc.option(text(60), { nil: undefined }),
    key: fc.option(text(60), { nil: undefined }),
    mode: fc.constantFrom('confirm' as const, 'fast' as const),
    body: fc.uint8Array({ maxLength: 300 }),
    contentType: text(60),
    headers: fc.dictionary(
      fc.oneof(text(40), fc.constantFrom('cc', 'bcc', 'x-match', 'setway-key', '__proto__')),
      text(60),
    ),
    traceparent: fc.option(text(55), { nil: undefined }),
    acceptedAtMs: fc.nat(2 ** 45),
    placement: fc
      .record({
        set: text(20),
        reason: text(20),
        distanceKm: fc.option(fc.double({ min: 0, max: 20_100, noNaN: true }), { nil: undefined }),
      })
      .map(withoutGaps),
  })
  .map((message) => withoutGaps(message) as Message);

function arrive({ routingKey, body, properties }: OutboundMessage): InboundMessage {
  return { routingKey, body, properties, redelivered: false };
}

function foreign(properties: InboundMessage['properties']): InboundMessage {
  return { body: new Uint8Array([1, 2]), routingKey: 'eu.created', redelivered: false, properties };
}

describe('the envelope', () => {
  test('any message survives the round trip', () => {
    fc.assert(
      fc.property(messages, (message) => {
        expect(fromInbound(arrive(toOutbound(message)))).toEqual({ origin: 'setway', message });
      }),
    );
  });

  test('a header of a client never becomes one that RabbitMQ or Setway reads', () => {
    fc.assert(
      fc.property(messages, fc.dictionary(text(20), text(20)), (message, headers) => {
        const plain = Object.keys(toOutbound({ ...message, headers: {} }).properties.headers);
        const names = Object.keys(toOutbound({ ...message, headers }).properties.headers);
        const added = names.filter((name) => !plain.includes(name));
        expect(added.toSorted()).toEqual(
          Object.keys(headers)
            .map((name) => `setway-h-${name}`)
            .toSorted(),
        );
      }),
    );
  });

  test('a bare message of a native client arrives as foreign', () => {
    expect(fromInbound(foreign({ headers: {} }))).toEqual({
      origin: 'foreign',
      message: {
        tag: 'eu.created',
        body: new Uint8Array([1, 2]),
        contentType: 'application/octet-stream',
        headers: {},
      },
    });
  });

  test('a foreign message keeps what a native client said', () => {
    const properties = {
      messageId: 'order-7',
      type: 'order',
      contentType: 'application/json',
      timestamp: 1_700_000_000,
      headers: { 'X-Retry': 3, traceparent: '00-1-2-01' },
    };
    expect(fromInbound(foreign(properties)).message).toEqual({
      messageId: 'order-7',
      type: 'order',
      tag: 'eu.created',
      body: new Uint8Array([1, 2]),
      contentType: 'application/json',
      headers: { 'x-retry': '3', traceparent: '00-1-2-01' },
      traceparent: '00-1-2-01',
      publishedAtMs: 1_700_000_000_000,
    });
  });

  test('a message that lost any part of its envelope is foreign, never half a message', () => {
    fc.assert(
      fc.property(messages, fc.nat(4), (message, index) => {
        const sealed = arrive(toOutbound(message));
        const required = ['setway-owner', 'setway-mode', 'setway-set', 'setway-reason', 'setway-accepted-at'];
        const { [required[index] ?? '']: _, ...headers } = sealed.properties.headers;
        const { origin } = fromInbound({ ...sealed, properties: { ...sealed.properties, headers } });
        expect(origin).toBe('foreign');
      }),
    );
  });

  test('anything at all in the properties is read without an error', () => {
    const headers = fc.dictionary(
      fc.oneof(text(20), fc.constantFrom('setway-owner', 'setway-mode', 'setway-set', '__proto__')),
      fc.oneof(text(20), fc.double()),
    );
    const any = fc.record(
      {
        messageId: text(40),
        type: text(20),
        contentType: text(20),
        timestamp: fc.double(),
        appId: text(10),
        headers,
      },
      { requiredKeys: ['headers'] },
    );
    expect(() =>
      fc.assert(fc.property(any, (properties) => void fromInbound(foreign(properties)))),
    ).not.toThrow();
  });
});
