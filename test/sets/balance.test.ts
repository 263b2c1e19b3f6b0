/** Balance by load: who is passed over and who never is, and the loop of load and traffic at rest. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createIntake } from '../../shared/host/intake.ts';
import { laneHome } from '../../shared/publish/lane-home.ts';
import { loadOf, passingChance } from '../../shared/sets/load.ts';
import { compileRouteTable, type RouteTable, type RouteTableData } from '../../shared/sets/route-table.ts';
import { explain } from '../../shared/sets/explain.ts';
import { route, type RouteRequest } from '../../shared/sets/route.ts';
import { whenAllAreWell } from '../../shared/sets/well-table.ts';
import { places, tables, topics } from './arbitraries.ts';

const shape = { kind: 'unit', weight: 1, status: 'active', shards: 1 } as const;
const hangzhou = { ...shape, id: 'hangzhou', number: 1, place: { latitude: 30.27, longitude: 120.15 } };
const frankfurt = { ...shape, id: 'frankfurt', number: 2, place: { latitude: 50.11, longitude: 8.68 } };
const virginia = { ...shape, id: 'virginia', number: 3, place: { latitude: 38.95, longitude: -77.45 } };
const world: RouteTableData = {
  version: 1,
  sets: [hangzhou, frankfurt, virginia],
  buckets: [{ from: 0, to: 16_383, set: 'hangzhou', epoch: 1 }],
  pins: [{ key: 'vip', set: 'hangzhou' }],
  health: {},
};
const topic = {
  name: 'orders',
  owner: 'shop',
  type: 'topic',
  scope: 'anywhere',
  rules: ['explicit', 'pin', 'key', 'nearest', 'center'],
} as const;
const place = { latitude: 31.23, longitude: 121.47 };
const always = () => true;

/** Repeatable, and as even as is needed here. */
function evenRandom(seed = 1): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

function firsts(
  data: RouteTableData,
  request: Omit<RouteRequest, 'topic'>,
  rounds: number,
): Readonly<Record<string, number>> {
  const table = compileRouteTable(data);
  const random = evenRandom();
  const counts: Record<string, number> = {};
  for (let round = 0; round < rounds; round++) {
    const [first] = route({ topic, ...request }, table, always, { random });
    const name = `${first?.set.id}:${first?.reason}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe('the chance to be passed over', () => {
  it('begins at 0.8, is a half at 1 and ends at 0.95', () => {
    const chances = [0, 0.8, 0.9, 1, 1.1, 1.18, 1.5, 1e9].map((load) => passingChance({ load }));
    [0, 0, 0.25, 0.5, 0.75, 0.95, 0.95, 0.95].forEach((chance, nth) =>
      expect(chances[nth]).toBeCloseTo(chance),
    );
  });

  it('is none where nobody knows the capacity, or the rate', () => {
    expect(loadOf(100, undefined)).toBeUndefined();
    expect(loadOf(undefined, 100)).toBeUndefined();
    expect(passingChance({ load: undefined })).toBe(0);
    expect(compileRouteTable({ ...world, loads: { hangzhou: 0.5 } }).passing).toBeUndefined();
  });

  it('takes load and share together', () => {
    expect(passingChance({ share: 0.01 })).toBeCloseTo(0.99);
    expect(passingChance({ load: 1, share: 0.5 })).toBeCloseTo(0.75);
  });
});

describe('a loaded SET', () => {
  const loaded = { ...world, loads: { hangzhou: 1 } };

  it('passes on what nothing binds to it by its chance, to the next in order', () => {
    const { 'hangzhou:nearest': kept = 0, 'frankfurt:spill': passed = 0 } = firsts(loaded, { place }, 4_000);
    expect(kept + passed).toBe(4_000);
    expect(Math.abs(passed - 2_000)).toBeLessThan(150);
  });

  it.each<[string, Omit<RouteRequest, 'topic'>, string]>([
    ['what names it', { choice: { set: 'hangzhou', fallback: 'prefer' } }, 'hangzhou:explicit'],
    ['what names it and no other', { choice: { set: 'hangzhou', fallback: 'only' } }, 'hangzhou:explicit'],
    ['a pinned key', { key: 'vip' }, 'hangzhou:pin'],
    ['a key of its buckets', { key: 'user-1' }, 'hangzhou:key'],
    ['what has an order', { place, balance: 'stays' }, 'hangzhou:nearest'],
  ])('keeps %s, however loaded it is', (_, request, reason) => {
    expect(firsts({ ...world, loads: { hangzhou: 50 } }, request, 300)).toEqual({ [reason]: 300 });
  });

  it('keeps its lanes, and the SET that ids of retries follow from stays the same', () => {
    const table = compileRouteTable({ ...world, loads: { hangzhou: 50 } });
    for (let n = 0; n < 50; n++) expect(laneHome(table, { topic }, `lane-${n}`).set.id).toBe('hangzhou');
    const well = whenAllAreWell(table);
    const [first] = route({ topic, place }, well, always, { random: () => 0 });
    expect(first).toMatchObject({ set: { id: 'hangzhou' }, reason: 'nearest' });
  });

  it('comes after the other usable ones, before those that are not, and first when all are loaded', () => {
    const ids = (data: RouteTableData) =>
      route({ topic, place }, compileRouteTable(data), always, { random: () => 0 }).map(
        ({ set, reason }) => `${set.id}:${reason}`,
      );
    const sick = { ...loaded, health: { virginia: 'down' as const } };
    expect(ids(sick)).toEqual(['frankfurt:spill', 'hangzhou:nearest', 'virginia:failover']);
    const loads = { hangzhou: 2, frankfurt: 2, virginia: 2 };
    expect(ids({ ...world, loads })[0]).toBe('hangzhou:nearest');
  });

  it('shares by weight with its equals what it passes on', () => {
    const twins = ['b', 'c', 'd'].map((id, nth) => ({ ...hangzhou, id, number: 10 + nth }));
    const sets = [hangzhou, ...twins];
    const centers = sets.map((set) => ({ ...set, kind: 'center' as const }));
    const data = { ...world, buckets: [], pins: [], loads: { hangzhou: 50 } };
    for (const [counts, name] of [
      [firsts({ ...data, sets }, { place }, 6_000), 'by place'],
      [firsts({ ...data, sets: centers }, {}, 6_000), 'without a place'],
    ] as const) {
      const at = (id: string) =>
        Object.entries(counts).reduce((sum, [key, n]) => sum + (key.startsWith(`${id}:`) ? n : 0), 0);
      // A quarter, of which a twentieth stays.
      expect(at('hangzhou'), name).toBeLessThan(150);
      for (const { id } of twins) expect(Math.abs(at(id) - 1_975), `${id} ${name}`).toBeLessThan(200);
    }
  });

  it('is let in slowly by its share, though it stands alone', () => {
    const sets = [{ ...hangzhou, share: 0.01 }, frankfurt, virginia];
    const { 'hangzhou:nearest': kept = 0 } = firsts({ ...world, sets }, { place }, 20_000);
    expect(Math.abs(kept - 200)).toBeLessThan(60);
  });
});

describe('every route with loads', () => {
  const burdened = tables.chain((data) =>
    fc.array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: 20, maxLength: 20 }).map((loads) => ({
      ...data,
      loads: Object.fromEntries(data.sets.map(({ id }, nth) => [id, loads[nth] ?? 0])),
    })),
  );
  const requests = fc.record({
    topic: topics,
    place: fc.option(places, { nil: undefined }),
    key: fc.option(fc.constantFrom('user-7', 'user-8'), { nil: undefined }),
  });
  const check = (property: (request: RouteRequest, data: RouteTableData, seed: number) => void) =>
    fc.assert(fc.property(requests, burdened, fc.integer({ min: 1, max: 1e6 }), property), { numRuns: 300 });
  const named = (request: RouteRequest, table: RouteTable, seed: number) =>
    route(request, table, always, { random: evenRandom(seed) }).map(({ set }) => set.id);

  it('with a place names the same SETs whatever is drawn, none twice, none that is down before one that is not', () => {
    check((request, data, seed) => {
      const table = compileRouteTable(data);
      const ids = named(request, table, seed);
      expect(new Set(ids).size).toBe(ids.length);
      const downs = ids.map((id) => data.health[id] === 'down');
      expect(downs).toEqual(downs.toSorted((a, b) => Number(a) - Number(b)));
      const again = request.place ? named(request, table, seed + 1) : ids;
      expect(again.toSorted()).toEqual(ids.toSorted());
    });
  });

  it('of a key is the one it would be without loads', () => {
    check((request, { loads: _loads, ...data }, seed) => {
      const keyed = { ...request, key: 'user-7' };
      const loads = Object.fromEntries(data.sets.map(({ id }) => [id, 2]));
      expect(named(keyed, compileRouteTable({ ...data, loads }), seed)).toEqual(
        named(keyed, compileRouteTable(data), seed),
      );
    });
  });

  it('has one reason `spill` at most, and it is the first', () => {
    check((request, data, seed) => {
      const reasons = route(request, compileRouteTable(data), always, { random: evenRandom(seed) }).map(
        ({ reason }) => reason,
      );
      expect(reasons.lastIndexOf('spill')).toBeLessThan(1);
    });
  });
});

describe('the explanation', () => {
  const data = { ...world, loads: { hangzhou: 1.05, frankfurt: 0.2 } };
  const told = (request: Omit<RouteRequest, 'topic'>, draw: number) => {
    const table = compileRouteTable(data);
    const { steps, candidates } = explain({ topic, ...request }, table, always, { random: () => draw });
    return { says: steps.find(({ set }) => set === 'hangzhou')?.says, candidates };
  };

  it('says that the SET is loaded, and what chance there was', () => {
    const passed = told({ place }, 0.1);
    expect(passed.says).toBe(
      'names this SET, but its load is 1.05, so 63 % of such messages pass it over, as this one does',
    );
    expect(passed.candidates).toMatchObject([
      { set: 'frankfurt', reason: 'spill', load: 0.2 },
      { set: 'virginia' },
      { set: 'hangzhou', reason: 'nearest', load: 1.05, passedOver: expect.closeTo(0.625) as number },
    ]);
    expect(told({ place }, 0.9).says).toBe(
      'decides; its load is 1.05, so 63 % of such messages pass it over',
    );
    expect(told({ key: 'vip' }, 0.1).says).toBe('decides');
  });
});

/** Words of the loop: a host beats, the prober reads, the edge reads; each as late as it may be. */
interface Road {
  readonly beatS: number;
  readonly probeS: number;
  readonly catalogS: number;
  /** When the host began, against the prober. */
  readonly phaseS: number;
}

/** Rates by the second that a SET of capacity 1 takes, when 0.5 is offered for half an hour, and then `offered`. */
function simulate(offered: number, road: Road, warmUpS: number, smoothingMs?: number): readonly number[] {
  let nowMs = 0;
  const intake = createIntake({ nowMs: () => nowMs }, smoothingMs);
  const random = evenRandom(7);
  let [kept, probed, seen, owed] = [0, 0, 0, 0];
  const taken: number[] = [];
  // A capacity of a hundred messages a second.
  for (let second = 0; second < warmUpS + 7_200; second++) {
    nowMs = second * 1_000;
    const chance = passingChance({ load: loadOf(seen, 100) });
    owed += (second < warmUpS ? 0.5 : offered) * 100;
    let took = 0;
    for (; owed >= 1; owed--) if (random() >= chance) took++;
    intake.took(took);
    if (second >= warmUpS) taken.push(took / 100);
    if (second % road.beatS === road.phaseS) kept = intake.perSecond();
    if (second % road.probeS === 0) probed = kept;
    if (second % road.catalogS === 0) seen = probed;
  }
  return taken;
}

function meansOf(rates: readonly number[], overS: number): readonly number[] {
  return Array.from({ length: Math.floor(rates.length / overS) }, (_, nth) => {
    const part = rates.slice(nth * overS, (nth + 1) * overS);
    return part.reduce((sum, rate) => sum + rate, 0) / part.length;
  });
}

describe('load and traffic together', () => {
  const road = { beatS: 30, probeS: 60, catalogS: 2 };

  it.each([0.5, 0.8, 1, 1.5, 2, 3, 4])(
    'with %d times the capacity offered are not above 1.15 after a quarter of an hour, then come to rest and stay there',
    (offered) => {
      for (const warmUpS of [0, 1_800])
        for (const phaseS of [1, 29]) {
          const minutes = meansOf(simulate(offered, { ...road, phaseS }, warmUpS), 60);
          // What the droop settles at: what is kept is what makes a SET keep so much.
          const rest = offered <= 0.8 ? offered : (3 * offered) / (1 + 2.5 * offered);
          expect(Math.max(...minutes.slice(15))).toBeLessThan(1.15);
          // A host that has just begun and is offered what it can take needs 16 minutes to be known as loaded.
          for (const mean of minutes.slice(25)) expect(Math.abs(mean - rest)).toBeLessThan(0.06);
        }
    },
  );

  it('would swing for ever if the rate were smoothed over no more than a minute', () => {
    const minutes = meansOf(simulate(4, { ...road, phaseS: 29 }, 1_800, 60_000), 60).slice(60);
    expect(Math.max(...minutes) - Math.min(...minutes)).toBeGreaterThan(2);
  });
});
