import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Problem } from '../../shared/problem.ts';
import { bucketOf } from '../../shared/sets/bucket.ts';
import {
  compileRouteTable,
  findPin,
  findRange,
  findSet,
  withHealth,
  type RouteTableData,
} from '../../shared/sets/route-table.ts';
import { tables } from './arbitraries.ts';

const place = { latitude: 0, longitude: 0 };
const set = {
  id: 'hangzhou',
  number: 1,
  kind: 'unit',
  place,
  weight: 1,
  status: 'active',
  shards: 1,
} as const;
const other = { ...set, id: 'frankfurt', number: 2 } as const;
const good: RouteTableData = {
  version: 7,
  sets: [other, set],
  buckets: [
    { from: 0, to: 8_191, set: 'hangzhou', epoch: 3 },
    { from: 8_192, to: 16_383, set: 'frankfurt', epoch: 4 },
  ],
  pins: [
    { key: 'vip', set: 'frankfurt' },
    { topic: 'orders', key: 'vip', set: 'hangzhou' },
  ],
  health: { hangzhou: 'down' },
};

function faultsOf(data: unknown): readonly string[] {
  try {
    compileRouteTable(data);
  } catch (error) {
    if (error instanceof Problem && error.kind === 'invalid-request') {
      return (error.extras.faults ?? []).map((fault) => fault.at);
    }
    throw error;
  }
  return [];
}

describe('a route table', () => {
  it.each([
    ['two SETs of one id', { sets: [set, other, { ...set, number: 3 }] }, '/sets/2/id'],
    ['two SETs of one number', { sets: [set, { ...other, number: 1 }] }, '/sets/1/number'],
    ['a number beyond 4095', { sets: [set, { ...other, number: 4_096 }] }, '/sets/1/number'],
    ['a negative number', { sets: [{ ...set, number: -1 }, other] }, '/sets/0/number'],
    [
      'a latitude of 91',
      { sets: [set, { ...other, place: { latitude: 91, longitude: 0 } }] },
      '/sets/1/place/latitude',
    ],
    ['a negative weight', { sets: [set, { ...other, weight: -1 }] }, '/sets/1/weight'],
    ['a weight that is no number', { sets: [set, { ...other, weight: NaN }] }, '/sets/1/weight'],
    ['no shard', { sets: [set, { ...other, shards: 0 }] }, '/sets/1/shards'],
    ['an unknown status', { sets: [set, { ...other, status: 'resting' }] }, '/sets/1/status'],
    ['an id with a slash', { sets: [set, other, { ...other, id: 'a/b', number: 3 }] }, '/sets/2/id'],
    ['an unknown field', { extra: 1 }, '/'],
    [
      'a bucket beyond the last',
      { buckets: [{ from: 0, to: 16_384, set: 'hangzhou', epoch: 1 }] },
      '/buckets/0/to',
    ],
    [
      'a range that ends before it begins',
      { buckets: [{ from: 5, to: 4, set: 'hangzhou', epoch: 1 }] },
      '/buckets/0',
    ],
    [
      'a range of an unknown SET',
      { buckets: [{ from: 0, to: 4, set: 'hangzou', epoch: 1 }] },
      '/buckets/0/set',
    ],
    ['a pin to an unknown SET', { pins: [{ key: 'a', set: 'mars' }] }, '/pins/0/set'],
    ['a key pinned twice', { pins: [good.pins[0], good.pins[0]] }, '/pins/1'],
    ['health of an unknown SET', { health: { mars: 'up' } }, '/health/mars'],
    ['an unknown health', { health: { hangzhou: 'sick' } }, '/health/hangzhou'],
  ])('with %s is refused', (_name, change, at) => {
    expect(faultsOf({ ...good, ...change })).toEqual([at]);
  });

  it('whose ranges overlap is refused, naming both', () => {
    const buckets = [...good.buckets, { from: 8_191, to: 8_191, set: 'frankfurt', epoch: 9 }];
    expect(faultsOf({ ...good, buckets })).toEqual(['/buckets/2']);
    expect(() => compileRouteTable({ ...good, buckets })).toThrow(/Overlaps \/buckets\/0/);
  });

  it('reports all faults at once, with the nearest name', () => {
    const buckets = [{ from: 9, to: 4, set: 'hangzou', epoch: 1 }];
    expect(faultsOf({ ...good, buckets, pins: [{ key: 'a', set: 'mars' }] })).toEqual([
      '/buckets/0/set',
      '/buckets/0',
      '/pins/0/set',
    ]);
    expect(() => compileRouteTable({ ...good, buckets })).toThrow(/Did you mean "hangzhou"/);
  });

  it('that is no object is refused', () => {
    for (const data of [null, undefined, [], 'table', 5]) expect(faultsOf(data)).toEqual(['/']);
  });

  it('finds who has the bucket of a key, and since which epoch', () => {
    const table = compileRouteTable(good);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (key) => {
        const range = bucketOf(key) < 8_192 ? good.buckets[0] : good.buckets[1];
        expect(findRange(table, key)).toEqual(range);
      }),
    );
  });

  it('knows no owner of a bucket nobody has', () => {
    expect(findRange(compileRouteTable({ ...good, buckets: [] }), 'foo')).toBeUndefined();
  });

  it('prefers the pin of a topic to a pin of all topics', () => {
    const table = compileRouteTable(good);
    expect(findPin(table, 'orders', 'vip')).toBe('hangzhou');
    expect(findPin(table, 'invoices', 'vip')).toBe('frankfurt');
    expect(findPin(table, 'orders', 'other')).toBeUndefined();
  });

  it('names the nearest id for one it does not know', () => {
    const table = compileRouteTable(good);
    expect(findSet(table, 'hangzhou').number).toBe(1);
    expect(() => findSet(table, 'hangzou')).toThrow(/no SET "hangzou"\. Did you mean "hangzhou"\?/);
    expect(() => findSet(table, '__proto__')).toThrow(Problem);
  });

  it('takes newer health without being compiled again', () => {
    const table = compileRouteTable(good);
    const newer = withHealth(table, { frankfurt: 'down', retired: 'up' });
    expect(newer.health).toEqual(['unknown', 'down']);
    expect(table.health).toEqual(['down', 'unknown']);
    expect(newer.rangeOfBucket).toBe(table.rangeOfBucket);
  });

  it('is the same whatever the order of its lists', () => {
    fc.assert(
      fc.property(tables, fc.string(), (data, key) => {
        const turned = compileRouteTable({
          ...data,
          sets: data.sets.toReversed(),
          buckets: data.buckets.toReversed(),
        });
        const table = compileRouteTable(data);
        expect(findRange(turned, key)).toEqual(findRange(table, key));
        expect(turned.sets).toEqual(table.sets);
        expect(turned.open).toEqual(table.open);
      }),
    );
  });

  it('holds 1,000 SETs and 16,384 ranges', () => {
    const sets = Array.from({ length: 1_000 }, (_, number) => ({ ...set, id: `set-${number}`, number }));
    const buckets = Array.from({ length: 16_384 }, (_, bucket) => ({
      from: bucket,
      to: bucket,
      set: `set-${bucket % 1_000}`,
      epoch: bucket,
    }));
    const table = compileRouteTable({ version: 1, sets, buckets, pins: [], health: {} });
    expect(findRange(table, '123456789')?.epoch).toBe(12_739);
  });
});
