import { describe, expect, it } from 'vitest';
import { sealSeed } from '../../shared/catalog/document.ts';
import { pinKey, unpinKey } from '../../shared/catalog/pins.ts';
import { parseSeed } from '../../shared/catalog/seed.ts';
import { createSealer } from '../../shared/sealed.ts';

const set = (id: string, number: number, more: object = {}) => ({
  id,
  number,
  kind: 'unit',
  place: { latitude: 0, longitude: 0 },
  brokerUrls: [`amqp://broker/${id}`],
  databaseUrls: [`postgres://db/${id}`],
  ...more,
});
const document = sealSeed(
  parseSeed({
    sets: [set('hangzhou', 1), set('frankfurt', 2), set('leaving', 3, { status: 'draining' })],
    topics: [
      { name: 'orders', owner: 'shop' },
      { name: 'ledger', owner: 'shop', scope: 'center' },
    ],
    pins: [{ topic: 'orders', key: 'vip', set: 'hangzhou' }],
  }),
  createSealer([new Uint8Array(32)]),
);
const pin = (topic: string | undefined, key: string, to: string) =>
  pinKey(document, { ...(topic === undefined ? {} : { topic }), key, set: to });

describe('a pin', () => {
  it('is written only while the pin and its SET are as they were', () => {
    const frankfurt = document.sets.find(({ id }) => id === 'frankfurt');
    expect(pin('orders', 'vip', 'frankfurt')).toEqual({
      expected: [
        { list: 'pins', name: 'orders vip', entry: { topic: 'orders', key: 'vip', set: 'hangzhou' } },
        { list: 'sets', name: 'frankfurt', entry: frankfurt },
      ],
      edits: [{ list: 'pins', name: 'orders vip', entry: { topic: 'orders', key: 'vip', set: 'frankfurt' } }],
    });
    expect(pin(undefined, 'vip', 'frankfurt')).toMatchObject({
      expected: [{ name: '* vip', entry: null }, {}],
      edits: [{ name: '* vip', entry: { key: 'vip', set: 'frankfurt' } }],
    });
    expect(pin('orders', 'vip', 'hangzhou')).toBe('as it should be');
  });

  it.each([
    ['a topic nobody knows', 'order', 'hangzhou', /Did you mean "orders"/],
    ['a SET nobody knows', 'orders', 'hangzou', /Did you mean "hangzhou"/],
    ['a SET that drains', 'orders', 'leaving', /is draining/],
    ['a unit, in a topic of the center', 'ledger', 'hangzhou', /never leaves the center/],
  ])('to or in %s is refused', (_, topic, to, detail) => {
    expect(() => pin(topic, 'user-1', to)).toThrow(detail);
  });

  it('that is not there cannot be taken away', () => {
    expect(() => unpinKey(document, { key: 'vip' })).toThrow(/not pinned in all topics/);
  });
});
