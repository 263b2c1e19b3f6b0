/** Where a lane lives: never where a pin says, so that no change of pins can give two SETs one lane. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asProblem } from '../../shared/problem.ts';
import { laneHome } from '../../shared/publish/lane-home.ts';
import { compileRouteTable, type RouteTableData } from '../../shared/sets/route-table.ts';
import { route } from '../../shared/sets/route.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import { tables, topics } from '../sets/arbitraries.ts';

function homeIn(data: RouteTableData, topic: Topic, lane: string): unknown {
  try {
    const { set, bucket, epoch } = laneHome(compileRouteTable(data), { topic, key: lane }, lane);
    return { set: set.id, bucket, epoch };
  } catch (error) {
    return asProblem(error).kind;
  }
}

describe('the home of a lane', () => {
  it('is the same whatever is pinned', () => {
    const lanes = fc.constantFrom('user-7', 'user-8', 'vip');
    fc.assert(
      fc.property(tables, topics, lanes, fc.nat({ max: 19 }), (data, topic, lane, nth) => {
        const set = data.sets[nth % data.sets.length]?.id ?? '';
        const unpinned = homeIn({ ...data, pins: [] }, topic, lane);
        expect(homeIn({ ...data, pins: [{ key: lane, set }] }, topic, lane)).toEqual(unpinned);
        const pins = [{ topic: topic.name, key: lane, set }];
        expect(homeIn({ ...data, pins }, topic, lane)).toEqual(unpinned);
      }),
      { numRuns: 500 },
    );
  });

  it('has an epoch by which edges of yesterday are refused, though its name is pinned', () => {
    const shape = { kind: 'unit', weight: 1, status: 'active', shards: 1 } as const;
    const place = { latitude: 0, longitude: 0 };
    const sets = ['hangzhou', 'frankfurt'].map((id, number) => ({ ...shape, id, number, place }));
    const buckets = [{ from: 0, to: 16_383, set: 'hangzhou', epoch: 3 }];
    const pins = [{ key: 'vip', set: 'frankfurt' }];
    const table = compileRouteTable({ version: 1, sets, buckets, pins, health: {} });
    const topic: Topic = {
      name: 'orders',
      owner: 'shop',
      type: 'topic',
      scope: 'anywhere',
      rules: ['explicit', 'pin', 'key', 'nearest'],
    };
    const home = laneHome(table, { topic, key: 'vip' }, 'vip');
    expect(home).toMatchObject({ set: { id: 'hangzhou' }, reason: 'key', epoch: 3 });
    const [plain] = route({ topic, key: 'vip' }, table, () => true);
    expect(plain).toMatchObject({ set: { id: 'frankfurt' }, reason: 'pin' });
  });
});
