/** What one routing decision costs in a table of a thousand SETs: no server is asked, so no load generator is needed. */
import { laneHome } from '../../shared/publish/lane-home.ts';
import { assignBuckets } from '../../shared/sets/ownership.ts';
import { compileRouteTable, type RouteTable } from '../../shared/sets/route-table.ts';
import { route, type RouteRequest } from '../../shared/sets/route.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import type { Measurement } from './measurement.ts';

const setCount = 1_000;
const decisionCount = 200_000;
/** Compiled by then. */
const warmUpCount = 20_000;

const topic: Topic = {
  name: 'orders',
  owner: 'bench',
  type: 'topic',
  scope: 'anywhere',
  rules: ['explicit', 'pin', 'key', 'nearest', 'center'],
};

function thousandSets(loads: Readonly<Record<string, number>>): RouteTable {
  const sets = Array.from({ length: setCount }, (_, number) => ({
    id: `set-${number}`,
    number,
    kind: number === 0 ? ('center' as const) : ('unit' as const),
    place: { latitude: ((number * 37) % 160) - 80, longitude: ((number * 73) % 360) - 180 },
    weight: 1,
    status: 'active' as const,
    shards: 1,
  }));
  const pins = Array.from({ length: 1_000 }, (_, n) => ({ key: `pinned-${n}`, set: `set-${n % setCount}` }));
  return compileRouteTable({
    version: 1,
    sets,
    buckets: assignBuckets([], [], sets),
    pins,
    health: {},
    loads,
  });
}

/** Every SET passes half of what nothing binds to it on. */
const loaded = Object.fromEntries(Array.from({ length: setCount }, (_, n) => [`set-${n}`, 1]));

function askerByPlace(table: RouteTable, nth: number): unknown {
  return decide(table, { topic, place: { latitude: nth % 90, longitude: nth % 180 } });
}

/** How messages ask, each by the number of the message. */
const askers: Readonly<Record<string, (table: RouteTable, nth: number) => unknown>> = {
  'by key': (table, nth) => decide(table, { topic, key: `user-${nth}` }),
  'by place': askerByPlace,
  'of a lane': (table, nth) => laneHome(table, { topic }, `user-${nth}`),
};

function decide(table: RouteTable, request: RouteRequest): unknown {
  return route(request, table, () => true);
}

export function benchRouting(): readonly Measurement[] {
  const calm = thousandSets({});
  const busy = thousandSets(loaded);
  const cases = [
    ...Object.entries(askers).map(([name, ask]) => ({ name, ask, table: calm })),
    { name: 'by place, all loaded', ask: askerByPlace, table: busy },
    {
      name: 'without a place, all loaded',
      ask: (table: RouteTable) => decide(table, { topic }),
      table: busy,
    },
  ];
  return cases.map(({ name, ask, table }) => {
    for (let nth = 0; nth < warmUpCount; nth++) ask(table, nth);
    const began = process.cpuUsage();
    const beganMs = performance.now();
    for (let nth = 0; nth < decisionCount; nth++) ask(table, nth);
    const seconds = (performance.now() - beganMs) / 1_000;
    const { user, system } = process.cpuUsage(began);
    return {
      name: `Routing ${name}, ${setCount} SETs`,
      rate: decisionCount / seconds,
      unit: 'decisions/s',
      cpuUs: (user + system) / decisionCount,
    };
  });
}
