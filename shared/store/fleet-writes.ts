/** What a take-over changes in the catalog, at the center: by compare-and-set on the version, however often others write. */
import type { CatalogDocument, SetEntry } from '../catalog/document.ts';
import type { FleetWrites } from '../sets/fleet-writes.ts';
import { callOff, giveAway, heldBy, type Holding, type Ownership } from '../sets/ownership.ts';
import { openBuckets } from './bucket-admission.ts';
import { readDocument } from './catalog.ts';
import { changeDocument } from './change-document.ts';
import type { Sql } from './database.ts';

export interface FleetWritesParts {
  readonly center: Sql;
  /** After each change: copies it to the SETs. */
  readonly onWritten: () => Promise<void>;
  readonly databases: (set: string) => Promise<readonly Sql[]>;
}

export function createFleetWrites(parts: FleetWritesParts): FleetWrites {
  const edit = async (change: (document: CatalogDocument) => CatalogDocument): Promise<void> => {
    await changeDocument(parts.center, change);
    await parts.onWritten();
  };
  return {
    fence: (set, database) =>
      edit((document) => {
        const fenced = withSet(document, set, (entry) => ({ ...entry, status: 'fenced', database }));
        return owning(fenced, callOff(document, set));
      }),
    async bequeath(set, holdings) {
      const known = { buckets: (await readDocument(parts.center))?.document.buckets ?? [] };
      // Opened before the catalog says so, so that nobody is sent where it is refused.
      await openAll(parts, known.buckets, giveAway(known, set, holdings).buckets);
      await edit((document) => owning(document, giveAway(document, set, holdings)));
    },
    activate: (set) =>
      edit((document) =>
        withSet(document, set, (entry) => ({ ...entry, status: 'active', database: 'there' })),
      ),
  };
}

function owning(document: CatalogDocument, { buckets, moves }: Ownership): CatalogDocument {
  return { ...document, buckets: [...buckets], ...(moves === undefined ? {} : { moves }) };
}

function withSet(
  document: CatalogDocument,
  set: string,
  change: (entry: SetEntry) => SetEntry,
): CatalogDocument {
  return { ...document, sets: document.sets.map((entry) => (entry.id === set ? change(entry) : entry)) };
}

async function openAll(
  { databases }: FleetWritesParts,
  known: readonly Holding[],
  given: readonly Holding[],
): Promise<void> {
  for (const heir of new Set(given.map(({ set }) => set))) {
    const had = heldBy(known, heir);
    const gained = heldBy(given, heir);
    if (JSON.stringify(had) === JSON.stringify(gained)) continue;
    // With what it has already, in case it was never given that.
    for (const sql of await databases(heir)) {
      await openBuckets(sql, heir, had);
      await openBuckets(sql, heir, gained);
    }
  }
}
