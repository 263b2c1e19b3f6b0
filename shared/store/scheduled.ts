/** Scheduled messages: what falls due. One query, one function. */
import type { DueEntry } from '../agenda/agenda.ts';
import { toUuid } from '../identifier.ts';
import { answerOf, type Sql } from './database.ts';
import { messageOf, text } from './rows.ts';
import type { MadeReady, ReadyOptions } from './store.ts';
import { holdTenure } from './tenure.ts';

/**
 * Ends `release` entries and makes READY what is due of them, under one `send` entry. Whoever holds an old lease ends
 * nothing and gets nothing.
 */
export async function makeReady(
  sql: Sql,
  entries: readonly DueEntry[],
  { set, host, resendAfterMs }: ReadyOptions,
): Promise<MadeReady> {
  // Lets the planner leave out all partitions but those that matter; a list of ids would be gone through per row.
  const ids = entries
    .flatMap(({ refs }) => refs)
    .map(toUuid)
    .toSorted();
  const [first = null, last = null] = [ids.at(0), ids.at(-1)];
  const rows = await answerOf(sql`
    WITH ended AS (
      DELETE FROM agenda a USING unnest(${entries.map(({ entry }) => entry)}::bigint[], ${entries.map(({ token }) => token)}::bigint[]) AS l(entry, token)
      WHERE a.id = l.entry AND a.lease_token = l.token AND ${holdTenure(sql, set, 'go on')}
      RETURNING a.refs
    ), ready AS (
      UPDATE message m SET state = 'READY' FROM (SELECT unnest(refs) AS id FROM ended) AS e
      WHERE m.id = e.id AND m.id >= ${first}::uuid AND m.id <= ${last}::uuid AND m.state = 'SCHEDULED' AND m.deliver_at <= now()
      RETURNING m.*
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom) SELECT id, 'released', ${host} FROM ready
    ), entry AS (
      INSERT INTO agenda (kind, set_id, refs, due_at)
      SELECT 'send', ${set}, array_agg(id), now() + make_interval(secs => ${resendAfterMs / 1000})
      FROM ready HAVING count(*) > 0
      RETURNING id, lease_token
    ), numbered AS (
      SELECT number_lanes(array_agg(id), array_agg(owner), array_agg(topic), array_agg(lane))
      FROM (SELECT * FROM ready WHERE lane IS NOT NULL ORDER BY deliver_at, id) AS r HAVING count(*) > 0
    )
    SELECT ready.*, (SELECT * FROM numbered) AS numbered, b.content_type, b.headers, b.traceparent, b.options, encode(b.body, 'base64') AS body,
      entry.id AS entry, entry.lease_token AS token
    FROM entry, ready JOIN message_body b ON b.id = ready.id AND b.id >= ${first}::uuid AND b.id <= ${last}::uuid
    LIMIT ${ids.length}`);
  const [row] = rows;
  if (!row) return { messages: [] };
  return {
    lease: { entry: text(row['entry']), token: text(row['token']) },
    messages: rows.map(messageOf),
  };
}
