import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketCount, bucketOf } from '../../shared/sets/bucket.ts';

describe('the bucket of a key', () => {
  it.each([
    ['', 0],
    ['123456789', 12_739],
    ['foo', 12_182],
    ['bar', 5_061],
    ['hello', 866],
  ])('%j is %d, the slot Redis Cluster computes', (key, bucket) => {
    expect(bucketOf(key)).toBe(bucket);
  });

  // Recorded once; a change here would send every user's messages to another SET.
  it.each([
    ['user-1', 12_542],
    ['用户', 5_340],
    ['{tag}foo', 5_073],
    ['😀'.repeat(60), 6_871],
  ])('%j stays %d forever', (key, bucket) => {
    expect(bucketOf(key)).toBe(bucket);
  });

  it('is always one of 16384', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (key) => {
        const bucket = bucketOf(key);
        expect(Number.isInteger(bucket) && bucket >= 0 && bucket < bucketCount).toBe(true);
      }),
    );
  });

  it('spreads user ids evenly: with four equal SETs none gets a twentieth more than its share', () => {
    const counts = [0, 0, 0, 0];
    for (let user = 0; user < 100_000; user++) {
      const quarter = Math.floor(bucketOf(`user-${user}`) / (bucketCount / 4));
      counts[quarter] = (counts[quarter] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 25_000)).toBeLessThan(1_250);
  });
});
