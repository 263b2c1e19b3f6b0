/**
 * One SET's place in the traffic:
 *
 *     active ◀──▶ draining ◀──▶ fenced
 *
 * `active` takes messages by its weight (0: only what names it), `draining` takes none and goes on delivering what it has,
 * `fenced` takes none and its hosts do nothing. The catalog says so to edges, which follow within its age; the tenure in the
 * SET's databases says so to its hosts, and refuses what edges of yesterday still send: those ask the next SET.
 */
import type { CatalogEdit } from '../catalog/catalog-writer.ts';
import type { SetEntry } from '../catalog/document.ts';
import { Problem } from '../problem.ts';
import { findSet, type FleetParts } from './fleet.ts';

const tenures = { active: 'serving', draining: 'draining', fenced: 'fenced' } as const;

/**
 * Opening begins in the databases and closing ends there, so that no edge is sent to where nobody may take anything.
 * @throws Problem `database-unavailable`: the catalog may have changed; repeat it
 */
export async function moveSet(parts: FleetParts, id: string, status: SetEntry['status']): Promise<void> {
  const { entry } = await findSet(parts, id);
  if (status === 'active' && entry.database === 'away')
    throw new Problem(
      'conflict',
      `"${id}" was taken over without its database: what that holds is others' now: setway sets take-over ${id}`,
    );
  const state = tenures[status];
  const settle = () => Promise.all(entry.databaseUrls.map((url) => parts.database(url).setTenure(id, state)));
  if (status === 'active') await settle();
  await changeSet(parts, id, { status });
  if (status !== 'active') await settle();
}

export function setEdit(id: string, entry: SetEntry | null): CatalogEdit {
  return { list: 'sets', name: id, entry };
}

/** @throws Problem `not-found`; `conflict` when it would leave nobody to take messages */
export async function changeSet(
  parts: FleetParts,
  id: string,
  change: Partial<Pick<SetEntry, 'status' | 'weight' | 'share' | 'drift'>>,
): Promise<void> {
  await findSet(parts, id);
  await parts.writer.write(({ sets }) => {
    const kept = sets.find((each) => each.id === id);
    if (!kept) throw new Problem('not-found', `There is no SET "${id}".`);
    const after = { ...kept, ...change };
    const isOpen = ({ status, weight }: SetEntry): boolean => status === 'active' && weight > 0;
    const others = sets.filter((each) => each.id !== id);
    if (isOpen(kept) && !isOpen(after) && !others.some(isOpen))
      throw new Problem('conflict', `SET "${id}" is the last that takes messages. Open another one first.`);
    if (JSON.stringify(after) === JSON.stringify(kept)) return 'as it should be';
    return { expected: [setEdit(id, kept)], edits: [setEdit(id, after)] };
  });
  await parts.spread();
}
