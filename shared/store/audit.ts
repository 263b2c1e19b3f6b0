/**
 * The audit of one database: is everything that was accepted on its way, and did everybody get what they should have?
 *
 * It goes through the messages in the order they were stored, once, some minutes behind: a message that is at no end
 * must have an agenda entry; one that was confirmed must have an outcome, or an entry, for every subscription that was
 * bound. What is missing is written into the agenda: an ordered message is put back in turn, so its stream wakes, and a
 * sequence of which nothing has arrived begins to gather with its deadline over; only what the cursor has passed already
 * goes alone. What was open when the audit passed (not confirmed yet, due later,
 * a subscription that is paused or behind) is noted, and looked at again after as long as it has existed.
 *
 * A subscription with a filter may not want what it has not got: such messages are noted, and handed to whoever can ask
 * the filter (audit-filtered.ts).
 *
 * One statement looks, repairs and moves the mark, under the mark's lock: a crash changes nothing, and of two audits at
 * once the second does nothing.
 */
import { answerOf, type Sql } from './database.ts';
import { idOf, type Row } from './rows.ts';
import type { AuditFindings, AuditOptions, Listener } from './store.ts';

export async function auditMessages(sql: Sql, options: AuditOptions): Promise<AuditFindings> {
  const { set, topics, listeners, afterMs, limit } = options;
  const asked = listeners.map(listenerRow);
  const [, rows = []] = await answerOf(
    sql.transaction([
      sql`INSERT INTO audit_mark (set_id, stored_at) VALUES (${set}, '-infinity') ON CONFLICT (set_id) DO NOTHING`,
      sql`
    WITH mark AS (
      SELECT stored_at, now() - make_interval(secs => ${afterMs / 1000}) AS until FROM audit_mark WHERE set_id = ${set}
      FOR UPDATE SKIP LOCKED
    ), listener AS MATERIALIZED (
      SELECT *, to_timestamp(since) AS since_at FROM json_to_recordset(${JSON.stringify(asked)}::json)
        AS l(subscription text, topic text, pattern text, since double precision, is_behind boolean, keeps_order boolean, is_filtered boolean)
    ), fresh AS MATERIALIZED (
      SELECT m.* FROM mark, unnest(${topics}::text[]) AS t(topic) CROSS JOIN LATERAL (
        SELECT * FROM message WHERE topic = t.topic AND stored_at > mark.stored_at AND stored_at <= mark.until
        ORDER BY stored_at FETCH FIRST (${limit}::integer) ROWS WITH TIES) AS m
      ORDER BY m.stored_at FETCH FIRST (${limit}::integer) ROWS WITH TIES
    ), noted AS MATERIALIZED (
      SELECT o.message_id FROM mark, audit_open o WHERE o.look_at <= now() ORDER BY o.look_at LIMIT ${limit}
    ), looked AS MATERIALIZED (
      SELECT * FROM fresh UNION ALL
      SELECT m.* FROM noted JOIN message m ON m.id = noted.message_id WHERE m.id NOT IN (SELECT id FROM fresh)
    ), planned AS MATERIALIZED (
      SELECT unnest(refs) AS id FROM agenda WHERE set_id = ${set} AND kind IN ('send', 'release')
    ), lost AS MATERIALIZED (
      SELECT id, state, deliver_at FROM looked l
      WHERE state IN ('READY', 'SCHEDULED') AND NOT EXISTS (SELECT FROM planned p WHERE p.id = l.id)
    ), repaired AS (
      INSERT INTO agenda (kind, set_id, refs, due_at)
      SELECT CASE state WHEN 'READY' THEN 'send' ELSE 'release' END, ${set}, ARRAY[id],
        CASE state WHEN 'READY' THEN now() ELSE coalesce(deliver_at, now()) END
      FROM lost RETURNING id
    ), pending AS MATERIALIZED (
      SELECT refs[1] AS id, subscription FROM agenda WHERE set_id = ${set} AND kind = 'redeliver'
    ), missing AS MATERIALIZED (
      SELECT l.id, li.subscription, li.is_behind, li.is_filtered, st.stream, l.sequence IS NOT NULL AS is_sequence,
        st.stream IS NOT NULL AND coalesce(l.sequence, (SELECT position FROM lane_entry WHERE message_id = l.id LIMIT 1), 0)
          > coalesce((SELECT position FROM stream WHERE subscription = li.subscription AND stream = st.stream), 0) AS is_ahead
      FROM looked l JOIN listener li
        ON li.topic = l.topic AND l.stored_at >= li.since_at
        AND (CASE WHEN coalesce(l.tag, '') = '' THEN '' ELSE '.' || l.tag END) ~ li.pattern
      CROSS JOIN LATERAL (SELECT CASE WHEN l.lane IS NOT NULL THEN 'lane/' || l.topic || '/' || l.lane
        WHEN l.sequence IS NOT NULL THEN 'session/' || l.topic || '/' || l.session END AS stream) AS st
      WHERE l.state = 'CONFIRMED' AND l.confirmed_at <= (SELECT until FROM mark)
        AND (l.expires_at IS NULL OR l.expires_at > now())
        AND (st.stream IS NULL OR li.keeps_order)
        AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = l.id AND d.subscription = li.subscription)
        AND NOT EXISTS (SELECT FROM pending p WHERE p.id = l.id AND p.subscription = li.subscription)
        AND NOT EXISTS (SELECT FROM agenda a WHERE a.set_id = ${set} AND a.subscription = li.subscription AND a.stream = st.stream)
    ), owed AS MATERIALIZED (
      SELECT * FROM missing WHERE NOT is_behind AND NOT is_filtered
    ), begun AS (
      INSERT INTO stream (subscription, stream, state, size, arrived, on_gap, deadline_at)
      SELECT DISTINCT ON (subscription, stream) subscription, stream, 'GATHERING', (options->'order'->>'size')::integer, 0,
        options->'order'->>'onGap', now()
      FROM owed JOIN message_body b ON b.id = owed.id WHERE is_ahead AND is_sequence
      ORDER BY subscription, stream
      ON CONFLICT (subscription, stream) DO NOTHING
    ), woken AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, stream, due_at)
      SELECT DISTINCT ON (subscription, stream) 'order', ${set}, '{}'::uuid[], subscription, stream, now()
      FROM owed WHERE is_ahead ORDER BY subscription, stream
      ON CONFLICT (set_id, subscription, stream) WHERE stream IS NOT NULL DO UPDATE SET signals = agenda.signals + 1
    ), resent AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
      SELECT 'redeliver', ${set}, ARRAY[id], subscription, now() FROM owed WHERE NOT is_ahead
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT id, 'resent', 'audit', subscription FROM owed
      UNION ALL SELECT id, 'replanned', 'audit', NULL FROM lost
    ), open AS MATERIALIZED (
      SELECT l.id, greatest(l.deliver_at, now()) + greatest(make_interval(secs => ${afterMs / 1000}), now() - l.stored_at) AS look_at
      FROM looked l WHERE l.state IN ('READY', 'SCHEDULED', 'HALF', 'CHECK_EXHAUSTED')
        OR (l.state = 'CONFIRMED' AND l.confirmed_at > (SELECT until FROM mark))
        OR l.id IN (SELECT id FROM missing WHERE is_behind OR is_filtered)
    ), kept AS (
      INSERT INTO audit_open (message_id, look_at) SELECT id, look_at FROM open
      ON CONFLICT (message_id) DO UPDATE SET look_at = excluded.look_at
    ), closed AS (
      DELETE FROM audit_open o USING noted WHERE o.message_id = noted.message_id AND o.message_id NOT IN (SELECT id FROM open)
    ), moved AS (
      UPDATE audit_mark a SET stored_at = CASE WHEN (SELECT count(*) FROM fresh) >= ${limit}
        THEN (SELECT max(stored_at) FROM fresh) ELSE mark.until END
      FROM mark WHERE a.set_id = ${set}
    )
    SELECT (SELECT count(*) FROM looked)::int AS looked, (SELECT count(*) FROM repaired)::int AS replanned,
      (SELECT count(*) FROM owed)::int AS resent,
      (SELECT json_agg(json_build_object('id', id, 'subscription', subscription,
          'note', CASE WHEN id IN (SELECT id FROM missing WHERE is_behind) THEN 'kept' ELSE 'over' END))
        FROM missing WHERE is_filtered AND NOT is_behind) AS filtered,
      ((SELECT count(*) FROM fresh) >= ${limit} OR (SELECT count(*) FROM noted) >= ${limit}) AS more`,
    ]),
  );
  return findingsOf(rows[0] ?? {});
}

function listenerRow({ subscription, topic, pattern, sinceMs, pace, order, filter }: Listener): Row {
  return {
    subscription,
    topic,
    pattern,
    since: sinceMs / 1000,
    is_behind: pace === 'behind',
    // A stream passes over what a filter leaves out, so what its cursor has passed is no sign of a loss.
    keeps_order: order === 'kept' && filter === undefined,
    is_filtered: filter !== undefined,
  };
}

function findingsOf(row: Row): AuditFindings {
  return {
    looked: Number(row['looked']),
    replanned: Number(row['replanned']),
    resent: Number(row['resent']),
    filtered: filteredOf(row['filtered']),
    isThereMore: row['more'] === true,
  };
}

function filteredOf(found: unknown): AuditFindings['filtered'] {
  const rows = (found ?? []) as readonly {
    readonly id: string;
    readonly subscription: string;
    readonly note: 'over' | 'kept';
  }[];
  return rows.map(({ id, subscription, note }) => ({ messageId: idOf(id), subscription, note }));
}
