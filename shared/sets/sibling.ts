/** The SETs that stand in for another one. Pure, and the same for everybody with the same table. */
import { squaredChord, toUnitVector } from './distance.ts';
import type { RouteTable } from './route-table.ts';
import type { SetDefinition } from './set.ts';

/**
 * The others that take new traffic, the nearest to the SET first, those that are down last; of equal ones the lower number.
 * @param scope `center`: only centers, for what may not leave them
 * @example siblingsOf(table, 'hangzhou', 'anywhere')[0]?.id // 'singapore'
 */
export function siblingsOf(
  table: RouteTable,
  set: string,
  scope: 'anywhere' | 'center',
): readonly SetDefinition[] {
  const home = table.sets[table.positions.get(set) ?? -1];
  if (!home) return [];
  const origin = toUnitVector(home.place);
  const group = scope === 'center' ? table.openCenters : table.open;
  const ranked = group.positions.flatMap((position) => {
    const sibling = table.sets[position];
    if (!sibling || sibling.id === set) return [];
    const isDown = table.health[position] === 'down';
    return [{ sibling, isDown, chord: squaredChord(origin, toUnitVector(sibling.place)) }];
  });
  return ranked
    .toSorted(
      (a, b) =>
        Number(a.isDown) - Number(b.isDown) || a.chord - b.chord || a.sibling.number - b.sibling.number,
    )
    .map(({ sibling }) => sibling);
}
