/**
 * Changes the whole catalog at the center, by compare-and-set on its version: what cannot be said as edits of single
 * entries (catalog-edits.ts).
 */
import type { CatalogDocument } from '../catalog/document.ts';
import { asProblem, Problem } from '../problem.ts';
import { appendDocument, readDocument } from './catalog.ts';
import type { Sql } from './database.ts';

/** Others change the catalog for reasons of their own; each time it is decided anew. */
const maxTries = 20;

export interface DocumentChange {
  /** The document as it is now. */
  readonly document: CatalogDocument;
  readonly state: 'changed' | 'as it was';
}

/**
 * @param decide undefined leaves everything as it is; may throw
 * @throws what `decide` throws; Problem `database-unavailable`: the change may have happened all the same; `conflict`
 * when others keep changing the catalog
 */
export async function changeDocument(
  center: Sql,
  decide: (document: CatalogDocument) => CatalogDocument | undefined,
): Promise<DocumentChange> {
  for (let tries = 0; tries < maxTries; tries++) {
    const newest = await readDocument(center);
    if (!newest) throw new Problem('set-unavailable', 'There is no catalog yet.');
    const document = decide(newest.document);
    if (!document) return { document: newest.document, state: 'as it was' };
    const refusal = await appendDocument(center, { version: newest.version + 1, document }).then(
      () => undefined,
      asProblem,
    );
    if (!refusal) return { document, state: 'changed' };
    if (refusal.kind !== 'conflict') throw refusal;
  }
  throw new Problem('conflict', 'Others keep changing the catalog. Try again.', { retryAfterSeconds: 1 });
}
