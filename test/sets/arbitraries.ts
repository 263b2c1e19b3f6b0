/** Random places, SETs and route tables for property tests. */
import fc from 'fast-check';
import type { RouteTableData } from '../../shared/sets/route-table.ts';
import type { Place, SetDefinition } from '../../shared/sets/set.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';

/** Anywhere on earth, corners more often than chance would have them. */
export const places: fc.Arbitrary<Place> = fc.record({
  latitude: fc.oneof(
    { weight: 6, arbitrary: fc.double({ min: -90, max: 90, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(90, -90, 0) },
  ),
  longitude: fc.oneof(
    { weight: 6, arbitrary: fc.double({ min: -180, max: 180, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(180, -180, 0, 179.999, -179.999) },
  ),
});

const definitions = fc.record({
  kind: fc.constantFrom('center' as const, 'unit' as const),
  place: places,
  weight: fc.constantFrom(0, 1, 1, 1, 5),
  status: fc.constantFrom(
    'active' as const,
    'active' as const,
    'active' as const,
    'draining' as const,
    'fenced' as const,
  ),
  shards: fc.constant(1),
});

/** 1 to 20 SETs, some closed or down, the buckets dealt out in ranges, a few pins. */
export const tables: fc.Arbitrary<RouteTableData> = fc
  .array(definitions, { minLength: 1, maxLength: 20 })
  .chain((list) => {
    const sets: SetDefinition[] = list.map((set, number) => ({ ...set, id: `set-${number}`, number }));
    const anyId = fc.constantFrom(...sets.map((set) => set.id));
    return fc.record({
      version: fc.nat(),
      sets: fc.constant(sets),
      buckets: fc
        .array(anyId, { maxLength: 8 })
        .map((owners) =>
          owners.map((set, index) => ({ from: index * 2_000, to: index * 2_000 + 1_999, set, epoch: index })),
        ),
      pins: anyId.map((set) => [{ key: 'user-7', set }]),
      health: fc.dictionary(anyId, fc.constantFrom('up' as const, 'down' as const, 'unknown' as const)),
    });
  });

const rules = ['explicit', 'pin', 'key', 'nearest', 'center'] as const;

export const topics: fc.Arbitrary<Topic> = fc.record({
  name: fc.constant('orders'),
  owner: fc.constant('shop'),
  type: fc.constant('topic' as const),
  scope: fc.constantFrom('anywhere' as const, 'anywhere' as const, 'center' as const),
  rules: fc.oneof(fc.constant(rules), fc.shuffledSubarray([...rules])),
});
