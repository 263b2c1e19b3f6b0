import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketOf } from '../../shared/sets/bucket.ts';
import { distanceKm } from '../../shared/sets/distance.ts';
import { compileRouteTable, type RouteTableData } from '../../shared/sets/route-table.ts';
import { explain } from '../../shared/sets/explain.ts';
import { equalDistanceKm, route, type RouteRequest } from '../../shared/sets/route.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import { places, tables, topics } from './arbitraries.ts';

const shape = { kind: 'unit', weight: 1, status: 'active', shards: 1 } as const;
const hangzhou = { ...shape, id: 'hangzhou', number: 1, place: { latitude: 30.27, longitude: 120.15 } };
const frankfurt = { ...shape, id: 'frankfurt', number: 2, place: { latitude: 50.11, longitude: 8.68 } };
const virginia = { ...shape, id: 'virginia', number: 3, place: { latitude: 38.95, longitude: -77.45 } };
const center = {
  ...shape,
  id: 'center',
  number: 0,
  kind: 'center' as const,
  place: { latitude: 22.54, longitude: 114.06 },
};
const shanghai = { latitude: 31.23, longitude: 121.47 };
const everybody: RouteTableData = {
  version: 1,
  sets: [center, hangzhou, frankfurt, virginia],
  buckets: [{ from: 0, to: 16_383, set: 'frankfurt', epoch: 5 }],
  pins: [{ topic: 'orders', key: 'vip', set: 'virginia' }],
  health: {},
};
const topic: Topic = {
  name: 'orders',
  owner: 'shop',
  type: 'topic',
  scope: 'anywhere',
  rules: ['explicit', 'pin', 'key', 'nearest', 'center'],
};
const always: (set: string) => boolean = () => true;
const never = () => false;

/** `id:reason` of each candidate. */
function trace(
  request: Partial<RouteRequest>,
  change: Partial<RouteTableData> = {},
  usable = always,
): string[] {
  const table = compileRouteTable({ ...everybody, ...change });
  return route({ topic, ...request }, table, usable, { random: () => 0.5 }).map(
    (candidate) => `${candidate.set.id}:${candidate.reason}`,
  );
}

describe('a route', () => {
  it('goes to the nearest SET, and from there on by distance', () => {
    expect(trace({ place: shanghai })).toEqual([
      'hangzhou:nearest',
      'center:failover',
      'frankfurt:failover',
      'virginia:failover',
    ]);
  });

  it('prefers explicit to pin, pin to bucket, bucket to nearest', () => {
    const choice = { set: 'center', fallback: 'prefer' } as const;
    expect(trace({ place: shanghai, key: 'vip', choice })[0]).toBe('center:explicit');
    expect(trace({ place: shanghai, key: 'vip' })[0]).toBe('virginia:pin');
    expect(trace({ place: shanghai, key: 'user-1' })[0]).toBe('frankfurt:key');
  });

  it('applies the rules in the order of the topic', () => {
    const rules = ['nearest', 'key'] as const;
    expect(trace({ topic: { ...topic, rules }, place: shanghai, key: 'user-1' })[0]).toBe('hangzhou:nearest');
    expect(trace({ topic: { ...topic, rules }, key: 'user-1' })[0]).toBe('frankfurt:key');
  });

  it('fails over from the SET of the bucket to what the later rules name', () => {
    const usable = (set: string) => set !== 'frankfurt';
    expect(trace({ place: shanghai, key: 'user-1' }, {}, usable)).toEqual([
      'hangzhou:failover',
      'center:failover',
      'virginia:failover',
      'frankfurt:key',
    ]);
  });

  it('goes to the nearest healthy SET when the nearest is down', () => {
    const health = { hangzhou: 'down' } as const;
    expect(trace({ place: shanghai }, { health })).toEqual([
      'center:nearest',
      'frankfurt:failover',
      'virginia:failover',
      'hangzhou:failover',
    ]);
  });

  it('still tries everybody, the nearest first, when nobody is usable', () => {
    expect(trace({ place: shanghai }, {}, never)).toEqual([
      'hangzhou:nearest',
      'center:failover',
      'frankfurt:failover',
      'virginia:failover',
    ]);
  });

  it('goes to the center when the place is unknown', () => {
    expect(trace({})[0]).toBe('center:center');
    expect(trace({}).toSorted()).toHaveLength(4);
  });

  it('falls back to the center when no rule names a SET', () => {
    const rules = ['explicit', 'pin'] as const;
    expect(trace({ topic: { ...topic, rules } })[0]).toBe('center:fallback');
    expect(trace({ topic: { ...topic, rules: [] }, place: shanghai })[0]).toBe('hangzhou:fallback');
  });

  it('of a topic of the center never leaves the center', () => {
    const scoped = { ...topic, scope: 'center' } as const;
    expect(trace({ topic: scoped, place: frankfurt.place, key: 'vip' })).toEqual(['center:nearest']);
    expect(() => trace({ topic: scoped, choice: { set: 'hangzhou', fallback: 'prefer' } })).toThrow(
      expect.objectContaining({ kind: 'invalid-request' }),
    );
  });

  it('with fallback `only` is that SET alone, healthy or not, whatever the order of the rules', () => {
    const choice = { set: 'virginia', fallback: 'only' } as const;
    const rules = ['pin', 'nearest', 'explicit'] as const;
    expect(trace({ choice, place: shanghai })).toEqual(['virginia:explicit']);
    expect(trace({ choice, place: shanghai }, {}, never)).toEqual(['virginia:explicit']);
    expect(trace({ choice, place: shanghai, topic: { ...topic, rules } })).toEqual(['virginia:explicit']);
  });

  it('to a SET nobody knows is not found, and names the nearest id', () => {
    for (const fallback of ['only', 'prefer'] as const) {
      const attempt = () => trace({ choice: { set: 'hangzou', fallback } });
      expect(attempt).toThrow(expect.objectContaining({ kind: 'not-found' }));
      expect(attempt).toThrow(/Did you mean "hangzhou"\?/);
    }
  });

  it('by choice of the publisher is refused where the topic does not offer that', () => {
    const rules = ['nearest'] as const;
    for (const fallback of ['only', 'prefer'] as const) {
      const choice = { set: 'virginia', fallback };
      expect(() => trace({ choice, topic: { ...topic, rules } })).toThrow(
        expect.objectContaining({ kind: 'invalid-request' }),
      );
    }
  });

  it.each(['draining', 'fenced'] as const)('never leads to a %s SET', (status) => {
    const sets = [center, { ...hangzhou, status }, { ...frankfurt, status }, { ...virginia, status }];
    expect(trace({ place: shanghai, key: 'vip' }, { sets })).toEqual(['center:nearest']);
    expect(trace({ choice: { set: 'hangzhou', fallback: 'prefer' } }, { sets })).toEqual(['center:center']);
    expect(() => trace({ choice: { set: 'hangzhou', fallback: 'only' } }, { sets })).toThrow(
      expect.objectContaining({ kind: 'set-unavailable' }),
    );
  });

  it('leads to a SET of weight 0 only by explicit choice', () => {
    const sets = [center, hangzhou, { ...frankfurt, weight: 0 }, { ...virginia, weight: 0 }];
    expect(trace({ place: shanghai, key: 'vip' }, { sets })).toEqual(['hangzhou:nearest', 'center:failover']);
    expect(trace({ choice: { set: 'frankfurt', fallback: 'prefer' } }, { sets })[0]).toBe(
      'frankfurt:explicit',
    );
  });

  it('is empty when no SET takes new traffic', () => {
    const sets = everybody.sets.map((set) => ({ ...set, status: 'draining' as const }));
    expect(trace({ place: shanghai, key: 'vip' }, { sets })).toEqual([]);
    expect(trace({}, { sets: [], buckets: [], pins: [] })).toEqual([]);
  });

  it('tells distance, bucket and epoch', () => {
    const table = compileRouteTable(everybody);
    const [first, second] = route({ topic, place: shanghai, key: 'user-1' }, table, always);
    expect(first).toMatchObject({ reason: 'key', bucket: bucketOf('user-1'), epoch: 5 });
    expect(first?.distanceKm).toBe(distanceKm(shanghai, frankfurt.place));
    expect(second).not.toHaveProperty('bucket');
    expect(route({ topic }, table, always)[0]).not.toHaveProperty('distanceKm');
  });

  it('shares traffic among SETs at one place by weight, and fails over to the others there first', () => {
    const twin = { ...hangzhou, id: 'hangzhou-b', number: 9, weight: 3 };
    const table = compileRouteTable({ ...everybody, sets: [...everybody.sets, twin] });
    let seed = 1;
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    let first = 0;
    for (let round = 0; round < 4_000; round++) {
      const ids = route({ topic, place: shanghai }, table, always, { random }).map(({ set }) => set.id);
      expect(ids.slice(0, 2).toSorted()).toEqual(['hangzhou', 'hangzhou-b']);
      expect(ids.slice(2)).toEqual(['center', 'frankfurt', 'virginia']);
      if (ids[0] === 'hangzhou-b') first++;
    }
    expect(Math.abs(first - 3_000)).toBeLessThan(150);
  });

  it('names no more candidates than asked for, the nearest of all', () => {
    const sets = Array.from({ length: 100 }, (_, number) => ({
      ...shape,
      id: `set-${number}`,
      number,
      place: { latitude: 0, longitude: number },
    }));
    const table = compileRouteTable({
      version: 1,
      sets: sets.toReversed(),
      buckets: [],
      pins: [],
      health: {},
    });
    const place = { latitude: 0, longitude: -1 };
    const ids = (limit?: number) =>
      route({ topic, place }, table, always, limit === undefined ? {} : { limit }).map(
        ({ set }) => set.number,
      );
    expect(ids()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(ids(3)).toEqual([0, 1, 2]);
  });

  it('asks the breakers of a few SETs only, however many there are', () => {
    const sets = Array.from({ length: 1_000 }, (_, number) => ({
      ...shape,
      id: `set-${number}`,
      number,
      // the golden angle spreads them over the earth in no order of distance
      place: { latitude: ((number * 61.8) % 180) - 90, longitude: ((number * 137.5) % 360) - 180 },
    }));
    const table = compileRouteTable({ version: 1, sets, buckets: [], pins: [], health: {} });
    let asked = 0;
    const usable = () => ++asked > 0;
    route({ topic, place: shanghai }, table, usable);
    expect(asked).toBeLessThan(200);
  });
});

describe('every route', () => {
  const requests = fc.record({
    topic: topics,
    place: fc.option(places, { nil: undefined }),
    key: fc.option(fc.constantFrom('user-7', 'user-8', 'user-9', ''), { nil: undefined }),
  });
  /** Breakers that are open, by position. */
  const breakers = fc
    .array(fc.nat({ max: 19 }))
    .map((open) => (set: string) => !open.includes(Number(set.slice(4))));
  const check = (
    property: (request: RouteRequest, data: RouteTableData, usable: (set: string) => boolean) => void,
  ) => fc.assert(fc.property(requests, tables, breakers, property), { numRuns: 500 });
  const unlimited = { limit: Infinity };

  it('names each SET that may take the message exactly once', () => {
    check((request, data, usable) => {
      const ids = route(request, compileRouteTable(data), usable, unlimited).map(({ set }) => set.id);
      const eligible = data.sets.filter(
        (set) =>
          set.status === 'active' &&
          set.weight > 0 &&
          (request.topic.scope === 'anywhere' || set.kind === 'center'),
      );
      expect(ids.toSorted()).toEqual(eligible.map((set) => set.id).toSorted());
    });
  });

  it('names no unusable SET before a usable one', () => {
    check((request, data, usable) => {
      const states = route(request, compileRouteTable(data), usable, unlimited).map(
        ({ set }) => data.health[set.id] !== 'down' && usable(set.id),
      );
      expect(states).toEqual(states.toSorted((a, b) => Number(b) - Number(a)));
    });
  });

  it('by `nearest` goes to a SET no usable one is more than 10 km nearer than', () => {
    check((request, data, usable) => {
      const [first] = route(request, compileRouteTable(data), usable);
      const { place } = request;
      if (first?.reason !== 'nearest' || !place) return;
      const nearestKm = Math.min(
        ...data.sets
          .filter((set) => set.status === 'active' && set.weight > 0)
          .filter((set) => request.topic.scope === 'anywhere' || set.kind === 'center')
          .filter((set) => data.health[set.id] !== 'down' && usable(set.id))
          .map((set) => distanceKm(place, set.place)),
      );
      // With nobody usable there is no bound: the minimum of nothing is Infinity.
      expect(first.distanceKm).toBeLessThanOrEqual(nearestKm + equalDistanceKm + 1e-6);
    });
  });

  it('beyond the first is ordered by distance, as far as nobody is as good as equal', () => {
    check((request, data, usable) => {
      const { place } = request;
      if (!place) return;
      const only = { ...request, topic: { ...request.topic, rules: ['nearest'] as const } };
      const distances = route(only, compileRouteTable(data), usable, unlimited)
        .filter(({ set }) => data.health[set.id] !== 'down' && usable(set.id))
        .map(({ set }) => distanceKm(place, set.place));
      const far = distances.filter((km) => km > Math.min(...distances) + equalDistanceKm + 1e-6);
      expect(far).toEqual(far.toSorted((a, b) => a - b));
    });
  });

  it('gives one first reason by rule, and failover to all others', () => {
    check((request, data, usable) => {
      const reasons = route(request, compileRouteTable(data), usable, unlimited).map(({ reason }) => reason);
      const meant = reasons.filter((reason) => reason !== 'failover');
      expect(meant.length <= 1 || meant.every((reason) => reason === 'fallback')).toBe(true);
    });
  });

  it('is the same at 180 and −180 degrees, and whatever the longitude at a pole', () => {
    check((request, data, usable) => {
      const table = compileRouteTable(data);
      const at = (latitude: number, longitude: number) =>
        route({ ...request, place: { latitude, longitude } }, table, usable, { random: () => 0.5 });
      const latitude = request.place?.latitude ?? 0;
      expect(at(latitude, 180)).toEqual(at(latitude, -180));
      expect(at(90, 12)).toEqual(at(90, -170));
      expect(at(-90, 12)).toEqual(at(-90, -170));
    });
  });

  it('does not change when the whole world is turned about its axis', () => {
    const turn = (longitude: number, by: number) => {
      const turned = longitude + by;
      return turned > 180 ? turned - 360 : turned < -180 ? turned + 360 : turned;
    };
    // Whole degrees: turned places stay exact, and no two distances differ only by rounding.
    const degrees = fc.integer({ min: -179, max: 179 });
    fc.assert(
      fc.property(
        tables,
        degrees,
        degrees,
        fc.integer({ min: -80, max: 80 }),
        (data, by, longitude, latitude) => {
          const rounded = data.sets.map((set, index) => ({
            ...set,
            place: { latitude: Math.trunc(set.place.latitude), longitude: (index * 17) % 180 },
          }));
          const turned = rounded.map((set) => ({
            ...set,
            place: { ...set.place, longitude: turn(set.place.longitude, by) },
          }));
          const nearest = { ...topic, rules: ['nearest'] as const };
          const distances = (sets: RouteTableData['sets'], place: RouteRequest['place']) =>
            route({ topic: nearest, place }, compileRouteTable({ ...data, sets }), always, unlimited)
              .map((candidate) => Math.round((candidate.distanceKm ?? NaN) * 1_000) / 1_000)
              .toSorted((a, b) => a - b);
          const before = distances(rounded, { latitude, longitude });
          const after = distances(turned, { latitude, longitude: turn(longitude, by) });
          expect(after.length).toBe(before.length);
          after.forEach((km, index) => expect(Math.abs(km - (before[index] ?? NaN))).toBeLessThan(0.01));
        },
      ),
    );
  });

  it('is the same whatever the order of the SETs in the table', () => {
    check((request, data, usable) => {
      const turned = { ...data, sets: data.sets.toReversed() };
      const options = { random: () => 0.5, limit: Infinity };
      expect(route(request, compileRouteTable(turned), usable, options)).toEqual(
        route(request, compileRouteTable(data), usable, options),
      );
    });
  });

  it('cut short is the beginning of the whole one', () => {
    check((request, data, usable) => {
      const table = compileRouteTable(data);
      const random = () => 0.5;
      const whole = route(request, table, usable, { random, limit: Infinity });
      for (const limit of [0, 1, 2, 3, 8]) {
        const short = route(request, table, usable, { random, limit });
        expect(short).toEqual(whole.slice(0, limit));
      }
    });
  });

  it('never loops or throws for a key, a place and a table', () => {
    check((request, data, usable) => {
      expect(explain(request, compileRouteTable(data), usable).version).toBe(data.version);
    });
  });
});

describe('an explanation', () => {
  it('says what each rule said, who may take the message and why the others may not', () => {
    const sets = [
      center,
      hangzhou,
      { ...frankfurt, status: 'draining' as const },
      { ...virginia, weight: 0 },
    ];
    const table = compileRouteTable({ ...everybody, sets, health: { hangzhou: 'up' } });
    const explanation = explain({ topic, key: 'user-1', place: shanghai }, table, (set) => set !== 'center');
    expect(explanation).toEqual({
      version: 1,
      bucket: bucketOf('user-1'),
      steps: [
        { rule: 'explicit', says: 'the publisher named no SET' },
        { rule: 'pin', says: 'the key is not pinned' },
        {
          rule: 'key',
          set: 'frankfurt',
          says: 'names this SET, but another rule came first or the SET takes nothing new',
        },
        { rule: 'nearest', set: 'hangzhou', says: 'decides' },
        { rule: 'center', says: 'another rule came first' },
      ],
      candidates: [
        {
          set: 'hangzhou',
          kind: 'unit',
          reason: 'nearest',
          distanceKm: distanceKm(shanghai, hangzhou.place),
          health: 'up',
          breaker: 'closed',
        },
        {
          set: 'center',
          kind: 'center',
          reason: 'failover',
          distanceKm: distanceKm(shanghai, center.place),
          health: 'unknown',
          breaker: 'open',
        },
      ],
      excluded: [
        { set: 'frankfurt', why: 'it is draining' },
        { set: 'virginia', why: 'its weight is 0: only an explicit choice goes there' },
      ],
    });
  });

  it('names all SETs, however many', () => {
    const sets = Array.from({ length: 100 }, (_, number) => ({ ...hangzhou, id: `set-${number}`, number }));
    const table = compileRouteTable({ version: 1, sets, buckets: [], pins: [], health: {} });
    expect(explain({ topic, place: shanghai }, table, always).candidates).toHaveLength(100);
  });
});
