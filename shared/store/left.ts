/** What a database still holds of a SET, and whose it is: asked before a SET goes, and before one comes. */
import type { DatabaseLeft } from '../sets/left.ts';
import { answerOf, type Sql } from './database.ts';
import { text } from './rows.ts';

/** Work that is planned stands in the agenda; what waits for somebody else stands in its own table. */
export async function readLeft(sql: Sql, set: string): Promise<DatabaseLeft> {
  const [row] = await answerOf(sql`
    WITH planned AS (
      SELECT kind, sum(greatest(cardinality(refs), 1))::int AS messages, count(*)::int AS entries
      FROM agenda WHERE set_id = ${set} GROUP BY kind
    )
    SELECT
      (SELECT coalesce(sum(messages), 0) FROM planned WHERE kind = 'send')::int AS unsettled,
      (SELECT coalesce(sum(messages), 0) FROM planned WHERE kind = 'release')::int AS scheduled,
      (SELECT count(*) FROM schedule WHERE set_id = ${set})::int AS schedules,
      (SELECT count(*) FROM transaction WHERE set_id = ${set} AND state IN ('PREPARED', 'CHECK_EXHAUSTED'))::int AS undecided,
      (SELECT coalesce(sum(entries), 0) FROM planned WHERE kind = 'redeliver')::int AS retries,
      (SELECT coalesce(sum(entries), 0) FROM planned WHERE kind = 'order')::int
        + (SELECT count(*) FROM stream WHERE state = 'BLOCKED')::int AS streams,
      (SELECT count(*) FROM mirror_copy WHERE home <> ${set})::int AS copies,
      (SELECT coalesce(sum(entries), 0) FROM planned
        WHERE kind NOT IN ('send', 'release', 'redeliver', 'order', 'check', 'schedule'))::int AS other`);
  const count = (name: keyof DatabaseLeft): number => Number(row?.[name]);
  return {
    unsettled: count('unsettled'),
    scheduled: count('scheduled'),
    schedules: count('schedules'),
    undecided: count('undecided'),
    retries: count('retries'),
    streams: count('streams'),
    copies: count('copies'),
    other: count('other'),
  };
}

/** SETs that have worked with this database; none when it is empty, with or without tables. */
export async function readTenants(sql: Sql): Promise<readonly string[]> {
  const [there] = await answerOf(
    sql`SELECT to_regclass('message') IS NOT NULL AND to_regclass('audit_mark') IS NOT NULL AS is_migrated`,
  );
  if (there?.['is_migrated'] !== true) return [];
  const rows = await answerOf(sql`
    SELECT set_id FROM host UNION SELECT set_id FROM declared UNION SELECT set_id FROM audit_mark
    UNION (SELECT set_id FROM message LIMIT 1) LIMIT 100`);
  return rows.map((row) => text(row['set_id'])).toSorted();
}

/** Newest version of the catalog that this database has a copy of; 0 without one. */
export async function readSnapshotVersion(sql: Sql): Promise<number> {
  const [row] = await answerOf(sql`SELECT coalesce(max(version), 0) AS version FROM catalog`);
  return Number(row?.['version']);
}
