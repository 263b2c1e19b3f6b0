/** What an edge holds of the routes, and reads when they change. */
import { expect, it } from 'vitest';
import { bucketCount } from '../../shared/sets/bucket.ts';
import { assignBuckets } from '../../shared/sets/ownership.ts';
import { compileRouteTable } from '../../shared/sets/route-table.ts';

const oneMebibyte = 1_048_576;
const sets = Array.from({ length: 1_000 }, (_, number) => ({
  id: `set-${number}`,
  number,
  kind: 'unit',
  place: { latitude: -12.3456, longitude: 123.4567 },
  weight: 1,
  status: 'active',
  shards: 1,
}));
const sizeOf = (buckets: unknown): number => {
  const snapshot = { version: 1_000_000, sets, buckets, pins: [], health: {} };
  compileRouteTable(snapshot);
  return Buffer.byteLength(JSON.stringify(snapshot));
};

it('a snapshot of 1,000 SETs with a range each fits into a quarter of a mebibyte', () => {
  expect(sizeOf(assignBuckets([], [], sets))).toBeLessThan(oneMebibyte / 4);
});

it('a snapshot of 1,000 SETs, each bucket moved by itself, fits into a mebibyte', () => {
  const buckets = Array.from({ length: bucketCount }, (_, bucket) => ({
    from: bucket,
    to: bucket,
    set: `set-${bucket % 1_000}`,
    epoch: 2,
  }));
  expect(sizeOf(buckets)).toBeLessThan(oneMebibyte);
});
