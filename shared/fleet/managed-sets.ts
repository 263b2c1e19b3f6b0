import { Problem } from '../problem.ts';
import { findSet, type FleetParts } from './fleet.ts';

/**
 * The SETs an action is about, in its order: those named, or all that have a management URL by their number.
 * @param first goes before the others
 * @throws Problem `not-found`; `conflict` when there is none
 */
export async function managedSets(
  parts: FleetParts,
  named: readonly string[],
  first?: string,
): Promise<readonly string[]> {
  const { document } = await parts.center();
  for (const id of [...named, ...(first === undefined ? [] : [first])]) await findSet(parts, id);
  const all = document.sets
    .filter(({ managementUrl }) => managementUrl !== undefined)
    .toSorted((a, b) => a.number - b.number)
    .map(({ id }) => id);
  const ids = named.length > 0 ? named : all;
  if (ids.length === 0)
    throw new Problem(
      'conflict',
      'No SET has a management URL. Give them one in the seed ("managementUrl").',
    );
  return first === undefined ? ids : [first, ...ids.filter((id) => id !== first)];
}
