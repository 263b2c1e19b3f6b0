/** What the hosts of a SET have declared in RabbitMQ, so that it can be taken down when nobody wants it any more. */
import type { Declared } from '../topology/plan.ts';
import { answerOf, type Sql } from './database.ts';

/** Notes what is new; returns everything that is noted for the SET. */
export async function noteDeclared(
  sql: Sql,
  set: string,
  declared: readonly Declared[],
): Promise<readonly Declared[]> {
  const rows = await answerOf(sql`
    WITH noted AS (
      INSERT INTO declared (set_id, kind, name, detail)
      SELECT ${set}, d->>'kind', d->>'name', d
      FROM jsonb_array_elements(${JSON.stringify(declared)}::jsonb) AS d
      ON CONFLICT DO NOTHING RETURNING detail)
    SELECT detail FROM declared WHERE set_id = ${set} UNION ALL SELECT detail FROM noted LIMIT 1000000`);
  return rows.map((row) => row['detail'] as Declared);
}

export async function forgetDeclared(sql: Sql, set: string, declared: readonly Declared[]): Promise<void> {
  const names = declared.map(({ kind, name }) => ({ kind, name }));
  await answerOf(sql`
    DELETE FROM declared USING json_to_recordset(${JSON.stringify(names)}::json) AS d(kind text, name text)
    WHERE declared.set_id = ${set} AND declared.kind = d.kind AND declared.name = d.name`);
}
