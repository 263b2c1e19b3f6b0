import { expect, it } from 'vitest';
import { compileRouteTable } from '../../shared/sets/route-table.ts';
import { siblingsOf } from '../../shared/sets/sibling.ts';

const places = {
  singapore: [0, 'center', 1.35, 103.82],
  hangzhou: [1, 'unit', 30.27, 120.16],
  frankfurt: [2, 'unit', 50.11, 8.68],
  virginia: [3, 'unit', 39.04, -77.49],
} as const;

function tableOf(
  changes: Readonly<Record<string, object>> = {},
  health: Readonly<Record<string, string>> = {},
) {
  const sets = Object.entries(places).map(([id, [number, kind, latitude, longitude]]) => ({
    id,
    number,
    kind,
    place: { latitude, longitude },
    weight: 1,
    status: 'active',
    shards: 1,
    ...changes[id],
  }));
  return compileRouteTable({ version: 1, sets, buckets: [], pins: [], health });
}

const namesOf = (...asked: Parameters<typeof siblingsOf>): readonly string[] =>
  siblingsOf(...asked).map(({ id }) => id);

it('names the others, the nearest first', () => {
  expect(namesOf(tableOf(), 'hangzhou', 'anywhere')).toEqual(['singapore', 'frankfurt', 'virginia']);
});

it('names those that are down last, and those that take nothing new not at all', () => {
  const table = tableOf({ virginia: { status: 'draining' } }, { singapore: 'down' });
  expect(namesOf(table, 'hangzhou', 'anywhere')).toEqual(['frankfurt', 'singapore']);
});

it('names centers alone for what may not leave them', () => {
  expect(namesOf(tableOf(), 'hangzhou', 'center')).toEqual(['singapore']);
  expect(namesOf(tableOf(), 'singapore', 'center')).toEqual([]);
});
