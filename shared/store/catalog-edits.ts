/**
 * Writes entries of the catalog at the center: under the table's lock, so that many writers wait for each other instead
 * of beating each other, and inside the database, so that a catalog of a thousand subscriptions travels one way only.
 */
import type { CatalogChange, CatalogWriter } from '../catalog/catalog-writer.ts';
import { Problem } from '../problem.ts';
import { readDocument } from './catalog.ts';
import { answerOf, type Sql } from './database.ts';

/** Somebody else changed the very same entry each time: then it is theirs for now. */
const maxTries = 5;

export interface CatalogWriterParts {
  readonly center: Sql;
  /** After each change: tells those who read. Never rejects. */
  readonly onWritten: () => Promise<void>;
}

export function createCatalogWriter({ center, onWritten }: CatalogWriterParts): CatalogWriter {
  return {
    async write(decide) {
      for (let tries = 0; tries < maxTries; tries++) {
        const newest = await fromCenter(readDocument(center));
        if (!newest) throw new Problem('set-unavailable', 'There is no catalog yet.');
        const change = decide(newest.document);
        if (change === 'as it should be') return;
        if (await fromCenter(applyChange(center, change))) return onWritten();
      }
      throw new Problem('conflict', 'Others keep changing this entry. Read it and try again.', {
        retryAfterSeconds: 1,
      });
    },
  };
}

/** @returns whether it was written; not when an expectation fails or a newer version came in between */
async function applyChange(sql: Sql, { expected, edits, unheard }: CatalogChange): Promise<boolean> {
  const [first, second = { list: null, name: null, entry: null }] = edits;
  const statements = await answerOf(
    sql.transaction([
      sql`LOCK TABLE catalog IN SHARE ROW EXCLUSIVE MODE`,
      sql`
        WITH newest AS (SELECT version, document FROM catalog ORDER BY version DESC LIMIT 1),
        first AS (
          SELECT version, document AS before, catalog_with(document, ${first.list}, ${first.name}, ${json(first.entry)}::jsonb) AS document
          FROM newest),
        both_edits AS (
          SELECT version, before, CASE WHEN ${second.list}::text IS NULL THEN document
            ELSE catalog_with(document, ${second.list}, ${second.name}, ${json(second.entry)}::jsonb) END AS document
          FROM first),
        gone AS (DELETE FROM catalog WHERE version < (SELECT version - 19 FROM newest))
        INSERT INTO catalog (version, document)
        SELECT version + 1, document FROM both_edits
        WHERE NOT EXISTS (
            SELECT FROM jsonb_array_elements(${JSON.stringify(expected)}::jsonb) AS e
            WHERE catalog_entry(before, e->>'list', e->>'name') IS DISTINCT FROM nullif(e->'entry', 'null'))
          AND NOT EXISTS (
            SELECT FROM jsonb_array_elements(before->'subscriptions') AS s WHERE s->>'topic' = ${unheard ?? null})
        ON CONFLICT (version) DO NOTHING RETURNING version`,
    ]),
  );
  return (statements[1]?.length ?? 0) > 0;
}

function json(entry: object | null): string | null {
  return entry === null ? null : JSON.stringify(entry);
}

/** Only the center changes the catalog: whoever reads it goes on without. */
async function fromCenter<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'database-unavailable') throw error;
    const detail =
      'The center does not answer, so nothing can be changed now; what is there goes on working.';
    throw new Problem('database-unavailable', detail, { cause: error, retryAfterSeconds: 5 });
  }
}
