/**
 * The outbox's table in a user's own database, and what is asked of it.
 *
 * A row is written by the user's transaction and deleted when its message was taken. In between whoever publishes it
 * holds a lease: `free_at` lies in the future, and after it the row may be taken again, under the same id. A message that
 * a rule refuses stays, with the reason in `refused`: it would be refused for ever, and must not hold up the others. Put
 * `refused` back to NULL to have it tried again.
 */
import type { SqlRunner, SqlStatement } from '../idempotency/sql.ts';
import { Problem } from '../problem.ts';

const defaultTable = 'setway_outbox';

/** The table's name becomes part of statements, so it is a plain one: `name` or `schema.name`. */
function checkedTable(table = defaultTable): string {
  if (/^[a-z_][a-z0-9_]{0,50}(?:\.[a-z_][a-z0-9_]{0,50})?$/.test(table)) return table;
  throw new Problem('invalid-settings', `"${table}" is no plain table name in lower case.`);
}

/** The statements that make the table; safe to repeat. */
export function outboxTable(table?: string): readonly string[] {
  const name = checkedTable(table);
  const index = name.replaceAll('.', '_');
  return [
    `CREATE TABLE IF NOT EXISTS ${name} (
  id uuid PRIMARY KEY,
  number bigint GENERATED ALWAYS AS IDENTITY,
  key text,
  message text NOT NULL,
  added_at timestamptz NOT NULL DEFAULT now(),
  free_at timestamptz NOT NULL DEFAULT now(),
  lease uuid,
  attempts integer NOT NULL DEFAULT 0,
  refused text
)`,
    `CREATE INDEX IF NOT EXISTS ${index}_order ON ${name} (number) WHERE refused IS NULL`,
    `CREATE INDEX IF NOT EXISTS ${index}_key ON ${name} (key, number) WHERE key IS NOT NULL AND refused IS NULL`,
  ];
}

export interface OutboxRow {
  readonly id: string;
  readonly key: string | null;
  /** The JSON of a publish, byte for byte as it was added: it is part of what makes a repetition one. */
  readonly message: string;
}

/** What became of the rows of one claim. */
export interface RowOutcomes {
  readonly lease: string;
  readonly taken: readonly string[];
  readonly refused: readonly { readonly id: string; readonly reason: string }[];
  /** To be tried again later. */
  readonly later: readonly string[];
}

/** What waits here may be published by whoever comes; a lease of a minute outlasts every publish of a claim. */
const leaseMs = 60_000;

export function addStatement(row: OutboxRow, table?: string): SqlStatement {
  const text = `INSERT INTO ${checkedTable(table)} (id, key, message) VALUES ($1::uuid, $2, $3)`;
  return { text, params: [row.id, row.key, row.message] };
}

/**
 * Takes rows in the order of their numbers. A row waits while an earlier one of its key is under way or put off; two who
 * claim in the same instant may still overtake each other within a key.
 */
export async function claimRows(
  sql: SqlRunner,
  {
    table,
    lease,
    limit,
  }: { readonly table: string | undefined; readonly lease: string; readonly limit: number },
): Promise<readonly OutboxRow[]> {
  const name = checkedTable(table);
  const { rows } = await sql(
    `WITH free AS (
       SELECT id FROM ${name} AS o WHERE refused IS NULL AND free_at <= now() AND NOT EXISTS (
         SELECT FROM ${name} AS e WHERE e.key = o.key AND e.number < o.number AND e.refused IS NULL AND e.free_at > now())
       ORDER BY number LIMIT $1 FOR UPDATE SKIP LOCKED
     ), held AS (
       UPDATE ${name} AS o SET lease = $2::uuid, attempts = attempts + 1, free_at = now() + $3 * interval '1 millisecond'
       FROM free WHERE o.id = free.id RETURNING o.id, o.key, o.message, o.number
     )
     SELECT id, key, message FROM held ORDER BY number`,
    [limit, lease, leaseMs],
  );
  return rows.map((row) => ({
    id: String(row['id']),
    key: typeof row['key'] === 'string' ? row['key'] : null,
    message: String(row['message']),
  }));
}

/**
 * What was taken is deleted whoever reports it, for it is true; the rest only by the holder of the lease. Put off for
 * 1 s, 2 s, 4 s … at most 5 minutes.
 */
export async function settleRows(
  sql: SqlRunner,
  table: string | undefined,
  { lease, taken, refused, later }: RowOutcomes,
): Promise<void> {
  const name = checkedTable(table);
  await sql(
    `WITH taken AS (
       DELETE FROM ${name} WHERE id = ANY($1::uuid[])
     ), refused AS (
       UPDATE ${name} AS o SET refused = r.reason, lease = NULL
       FROM unnest($2::uuid[], $3::text[]) AS r(id, reason) WHERE o.id = r.id AND o.lease = $5::uuid
     )
     UPDATE ${name} SET lease = NULL, free_at = now() + least(300, 2 ^ least(attempts - 1, 10)) * interval '1 second'
     WHERE id = ANY($4::uuid[]) AND lease = $5::uuid`,
    [taken, refused.map(({ id }) => id), refused.map(({ reason }) => reason), later, lease],
  );
}
