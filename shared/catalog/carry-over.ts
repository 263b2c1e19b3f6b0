/**
 * What a seed does not say and the catalog must not forget: SETs that `setway sets create` made, unless the seed names
 * them, and all numbers that SETs ever had. A number is for ever: ids of messages carry it.
 */
import { Problem } from '../problem.ts';
import type { CatalogDocument, SetNumber } from './document.ts';

/** @throws Problem `conflict` for a SET whose number is or was another one's */
export function carryOver(before: CatalogDocument | undefined, seed: CatalogDocument): CatalogDocument {
  const named = new Set(seed.sets.map(({ id }) => id));
  const made = (before?.sets ?? []).filter(({ id, access }) => access === 'managed' && !named.has(id));
  const sets = [...seed.sets, ...made];
  const known = new Map((before?.setNumbers ?? []).map(({ name, set }) => [name, set]));
  for (const { id, number } of before?.sets ?? []) known.set(String(number), id);
  for (const { id, number } of sets) {
    const owner = known.get(String(number)) ?? id;
    if (owner !== id)
      throw new Problem(
        'conflict',
        `SET "${id}" cannot have the number ${number}: it is or was the SET "${owner}"'s, and ids of its messages carry it for ever.`,
      );
    known.set(String(number), id);
  }
  const setNumbers: readonly SetNumber[] = [...known].map(([name, set]) => ({ name, set }));
  return { ...seed, sets, setNumbers };
}
