/** Messages that go on in another SET: read here, kept there. Rows travel whole, so a new column needs nothing here. */
import type { CopiedMessage, Undelivered, UndeliveredPage } from '../sets/undelivered.ts';
import { answerOf, type Sql } from './database.ts';
import { text } from './rows.ts';

/** Messages looked at in one statement, and bytes of their bodies. */
const pageSize = 500;
const pageBytes = 8_388_608;
const first = '00000000-0000-0000-0000-000000000000';

/** Confirmed messages that one of these subscriptions has no outcome for. */
export async function readUndelivered(
  sql: Sql,
  { subscriptions, topics, after }: UndeliveredPage,
): Promise<Undelivered> {
  const [row] = await answerOf(sql`
    WITH scanned AS MATERIALIZED (
      SELECT * FROM message WHERE id > ${after === '' ? first : after}::uuid ORDER BY id LIMIT ${pageSize}
    ), wanted AS MATERIALIZED (
      SELECT s.id, sum(s.size) OVER (ORDER BY s.id) AS bytes, s.size, s.lane IS NOT NULL OR s.session IS NOT NULL AS is_ordered
      FROM scanned s WHERE s.state = 'CONFIRMED' AND s.topic = ANY(${topics}::text[]) AND EXISTS (
        SELECT FROM unnest(${subscriptions}::text[]) AS n(name)
        WHERE NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = s.id AND d.subscription = n.name))
    ), fitting AS MATERIALIZED (SELECT * FROM wanted WHERE bytes <= ${pageBytes} OR bytes = size)
    SELECT (SELECT count(*) FROM scanned)::int AS scanned, (SELECT max(id::text) FROM scanned) AS last_scanned,
      (SELECT count(*) FROM wanted)::int AS wanted, (SELECT max(id::text) FROM fitting) AS last_fitting,
      (SELECT count(*) FROM fitting WHERE is_ordered)::int AS ordered,
      (SELECT json_agg(json_build_object('id', f.id, 'body', to_json(b),
          'message', to_jsonb(s) || '{"mirror": null}'))
        FROM fitting f JOIN scanned s ON s.id = f.id JOIN message_body b ON b.id = f.id) AS messages`);
  const messages = (row?.['messages'] ?? []) as readonly CopiedMessage[];
  const next = nextOf(row ?? {});
  return { messages, ordered: Number(row?.['ordered']), ...(next === undefined ? {} : { next }) };
}

function nextOf(row: Readonly<Record<string, unknown>>): string | undefined {
  const isCut =
    row['last_fitting'] !== row['last_scanned'] && Number(row['wanted']) > countOf(row['messages']);
  if (isCut) return text(row['last_fitting']);
  return Number(row['scanned']) === pageSize ? text(row['last_scanned']) : undefined;
}

function countOf(list: unknown): number {
  return Array.isArray(list) ? list.length : 0;
}

/** Rows of another SET's database, as `readUndelivered` gave them; those that are there stay as they are. */
export async function keepUndelivered(sql: Sql, rows: readonly CopiedMessage[]): Promise<void> {
  const messages = JSON.stringify(rows.map(({ message }) => message));
  const bodies = JSON.stringify(rows.map(({ body }) => body));
  await answerOf(sql`
    WITH bodies AS (
      INSERT INTO message_body SELECT * FROM json_populate_recordset(NULL::message_body, ${bodies}::json)
      ON CONFLICT DO NOTHING)
    INSERT INTO message SELECT * FROM json_populate_recordset(NULL::message, ${messages}::json)
    ON CONFLICT DO NOTHING`);
}
