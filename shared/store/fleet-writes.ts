/** What a take-over changes in the catalog, at the center: by compare-and-set on the version, however often others write. */
import type { CatalogDocument, SetEntry } from '../catalog/document.ts';
import type { FleetWrites } from '../sets/fleet-writes.ts';
import { heldBy, type BucketMove, type Holding } from '../sets/ownership.ts';
import { bucketCount } from '../sets/bucket.ts';
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
      edit((document) => withSet(document, set, (entry) => ({ ...entry, status: 'fenced', database }))),
    async bequeath(set, holdings) {
      const known = (await readDocument(parts.center))?.document.buckets ?? [];
      // Opened before the catalog says so, so that nobody is sent where it is refused.
      await openAll(parts, known, inherited(known, set, holdings));
      await edit((document) => {
        const moves = document.moves === undefined ? {} : { moves: movesWithout(document.moves, set) };
        return { ...document, ...moves, buckets: [...inherited(document.buckets, set, holdings)] };
      });
    },
    activate: (set) =>
      edit((document) =>
        withSet(document, set, (entry) => ({ ...entry, status: 'active', database: 'there' })),
      ),
  };
}

function withSet(
  document: CatalogDocument,
  set: string,
  change: (entry: SetEntry) => SetEntry,
): CatalogDocument {
  return { ...document, sets: document.sets.map((entry) => (entry.id === set ? change(entry) : entry)) };
}

/** Of these buckets those that are still the SET's, at the epochs given. */
function inherited(known: readonly Holding[], set: string, holdings: readonly Holding[]): readonly Holding[] {
  const heirs = Array.from<Holding | undefined>({ length: bucketCount });
  for (const holding of holdings) heirs.fill(holding, holding.from, holding.to + 1);
  return known.flatMap((range) => {
    if (range.set !== set) return [range];
    const parts: Holding[] = [];
    for (let bucket = range.from; bucket <= range.to; bucket++) {
      const heir = heirs[bucket];
      const isNewer = heir !== undefined && heir.epoch > range.epoch;
      const { set: owner, epoch } = isNewer ? heir : range;
      const last = parts.at(-1);
      if (last?.set === owner && last.epoch === epoch) parts[parts.length - 1] = { ...last, to: bucket };
      else parts.push({ from: bucket, to: bucket, set: owner, epoch });
    }
    return parts;
  });
}

/** Moves from it are over; what was on its way to it stays where it was. */
function movesWithout(moves: readonly BucketMove[], set: string): readonly BucketMove[] {
  return moves
    .filter(({ source }) => source !== set)
    .map((move) =>
      move.target === set && move.state !== 'aborting'
        ? { ...move, state: 'aborting', epoch: move.epoch + 1 }
        : move,
    );
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
