/**
 * Which buckets a SET admits lanes of, in one of its databases. One query, one function. Epochs only grow: whoever comes
 * late, with an epoch that was overtaken, changes nothing.
 */
import type { BucketSpan, Holding } from '../sets/ownership.ts';
import { answerOf, type Sql } from './database.ts';

/** Opens buckets at the epochs given, where they stand at a lower one. */
export async function openBuckets(
  sql: Sql,
  set: string,
  holdings: readonly Omit<Holding, 'set'>[],
): Promise<void> {
  if (holdings.length === 0) return;
  await answerOf(sql`
    INSERT INTO bucket_admission AS known (set_id, bucket, epoch, is_open)
    SELECT ${set}, bucket, epoch, true
    FROM json_to_recordset(${JSON.stringify(holdings)}::json) AS h("from" integer, "to" integer, epoch bigint),
      generate_series(h."from", h."to") AS bucket
    ORDER BY bucket
    ON CONFLICT (set_id, bucket) DO UPDATE SET epoch = excluded.epoch, is_open = true
    WHERE known.epoch < excluded.epoch`);
}

/** Closes everything but what is held, at the epochs it is held. */
export async function closeAllBut(
  sql: Sql,
  set: string,
  holdings: readonly Omit<Holding, 'set'>[],
): Promise<void> {
  await answerOf(
    sql.transaction([
      sql`SELECT pg_advisory_xact_lock(778147, hashtext(${set}))`,
      sql`UPDATE bucket_admission b SET is_open = false WHERE set_id = ${set} AND is_open AND NOT EXISTS (
        SELECT FROM json_to_recordset(${JSON.stringify(holdings)}::json) AS h("from" integer, "to" integer, epoch bigint)
        WHERE b.bucket BETWEEN h."from" AND h."to" AND b.epoch >= h.epoch)`,
    ]),
  );
}

/**
 * Closes buckets that stand below an epoch: after it nothing is admitted to them, and everything that was is there to
 * see. The SET must have been given its buckets before.
 */
export async function closeBuckets(
  sql: Sql,
  set: string,
  span: BucketSpan & { readonly epoch: number },
): Promise<void> {
  await answerOf(
    sql.transaction([
      sql`SELECT pg_advisory_xact_lock(778147, hashtext(${set}))`,
      sql`UPDATE bucket_admission SET is_open = false
        WHERE set_id = ${set} AND bucket BETWEEN ${span.from} AND ${span.to} AND epoch < ${span.epoch} AND is_open`,
    ]),
  );
}
