/** What is still to be told of deliveries that have ended. One query, one function. */
import type { DueEntry } from '../agenda/agenda.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, instant, numberOrNull, text, textOrNull, type Row } from './rows.ts';
import type { EndCallback, EndTold } from './store.ts';

type Fragment = ReturnType<Sql>;

/**
 * CTEs that write the callbacks of what has just ended, with an agenda entry each. For plain deliveries there is nothing to do.
 * @param said name of the CTE of outcomes, which has a column `callback`; beside it `tracked` has what was changed
 */
export function owedCallbacks(sql: Sql, said: 'outcome' | 'step'): Fragment {
  const rows = said === 'outcome' ? sql`outcome` : sql`step`;
  return sql`owed AS (
      INSERT INTO delivery_callback (message_id, subscription, state, tries, set_id, url, status, error, answer)
      SELECT DISTINCT ON (t.message_id, t.subscription) t.message_id, t.subscription, t.state, t.attempts,
        o.callback->>'set', o.callback->>'url', o.status, o.error, o.callback->>'answer'
      FROM tracked t JOIN ${rows} o ON o.message_id = t.message_id AND o.subscription = t.subscription AND o.state = t.state
      WHERE o.callback IS NOT NULL
      RETURNING id, set_id, subscription
    ), ${planned(sql)}`;
}

/**
 * The same for what consumers say: they bring no message, so what it asks for is looked up here.
 * A CTE `said` has the columns `error` and `callback_url`, what the subscription asks for; `told` is what was changed.
 */
export function owedToAnswers(sql: Sql, set: string): Fragment {
  return sql`owed AS (
      INSERT INTO delivery_callback (message_id, subscription, state, tries, set_id, url, error)
      SELECT DISTINCT ON (t.message_id, t.subscription) t.message_id, t.subscription, t.state, t.attempts,
        ${set}::text, coalesce(m.url, s.callback_url), s.error
      FROM told t JOIN said s ON s.message_id = t.message_id AND s.subscription = t.subscription
      LEFT JOIN LATERAL (
        SELECT options->'callback'->>CASE t.state WHEN 'DONE' THEN 'success' ELSE 'failure' END AS url
        FROM message_body WHERE id = t.message_id LIMIT 1) m ON true
      WHERE t.state IN ('DONE', 'DEAD', 'SKIPPED') AND coalesce(m.url, s.callback_url) IS NOT NULL
      RETURNING id, set_id, message_id, subscription
    ), ${planned(sql)}`;
}

function planned(sql: Sql): Fragment {
  return sql`telling AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
      SELECT 'callback', set_id, ARRAY[id], subscription, now() FROM owed
    )`;
}

/** The callbacks of claimed entries; one that is not among them has ended. */
export async function loadEndCallbacks(
  sql: Sql,
  entries: readonly DueEntry[],
): Promise<readonly EndCallback[]> {
  const leases = entries.map(({ entry, token }) => ({ entry, token }));
  const rows = await answerOf(sql`
    SELECT c.*, m.topic, a.id AS entry, a.lease_token AS token
    FROM json_to_recordset(${JSON.stringify(leases)}::json) AS l(entry bigint, token bigint)
    JOIN agenda a ON a.id = l.entry AND a.lease_token = l.token
    JOIN delivery_callback c ON c.id = a.refs[1]
    LEFT JOIN LATERAL (SELECT topic FROM message WHERE id = c.message_id LIMIT 1) m ON true
    LIMIT ${entries.length}`);
  return rows.map(callbackOf);
}

function callbackOf(row: Row): EndCallback {
  return {
    lease: { entry: text(row['entry']), token: text(row['token']) },
    url: text(row['url']),
    attempts: Number(row['attempts']),
    content: {
      message: idOf(row['message_id']),
      topic: textOrNull(row['topic']),
      subscription: text(row['subscription']),
      state: text(row['state']),
      attempts: Number(row['tries']),
      status: numberOrNull(row['status']),
      error: textOrNull(row['error']),
      answer: textOrNull(row['answer']),
      endedAt: instant(row['ended_at']),
    },
  };
}

/** Ends the callback with a line on the timeline, or puts it off. Guarded by the lease. */
export async function recordEndTold(
  sql: Sql,
  { lease, said, againAfterMs }: EndTold,
  host: string,
): Promise<void> {
  const againSecs = againAfterMs === undefined ? null : againAfterMs / 1000;
  await answerOf(sql`
    WITH held AS (
      SELECT id, refs FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint FOR UPDATE
    ), again AS (
      UPDATE agenda a SET due_at = now() + make_interval(secs => ${againSecs}::double precision)
      FROM held WHERE a.id = held.id AND ${againSecs !== null}::boolean
    ), counted AS (
      UPDATE delivery_callback c SET attempts = attempts + 1 FROM held
      WHERE c.id = held.refs[1] AND ${againSecs !== null}::boolean
    ), ended AS (
      DELETE FROM delivery_callback c USING held WHERE c.id = held.refs[1] AND ${againSecs === null}::boolean
      RETURNING c.message_id, c.subscription, c.state
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT message_id, 'callback', ${host}, subscription || ' ' || state || ': ' || ${said} FROM ended
    )
    DELETE FROM agenda a USING held WHERE a.id = held.id AND ${againSecs === null}::boolean`);
}
