/** The routes as they are when every SET is well: what must not change with the health of the moment goes by these. */
import type { RouteTable } from './route-table.ts';

/** One for each table: a table is compiled for many requests. */
const known = new WeakMap<RouteTable, RouteTable>();

/** @example route(request, whenAllAreWell(table), () => true, { random: () => 0, limit: 1 }) */
export function whenAllAreWell(table: RouteTable): RouteTable {
  const found = known.get(table);
  if (found) return found;
  const well = { ...table, health: table.health.map(() => 'unknown' as const), passing: undefined };
  known.set(table, well);
  return well;
}
