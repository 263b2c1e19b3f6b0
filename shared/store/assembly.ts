/** Sequences in Postgres: their items as they arrive, and what becomes of gaps. One query, one function. */
import { toUuid } from '../identifier.ts';
import type { Message } from '../message/message.ts';
import { answerOf, type Sql } from './database.ts';
import type {
  Arrival,
  Arrived,
  AssemblyChange,
  LoadLease,
  StreamLease,
  StreamView,
} from './ordered-store.ts';
import { messageOf, type Row } from './rows.ts';
import { holdTenure } from './tenure.ts';

/**
 * Stores items, counts them, and wakes the sequences that are complete or blocked; the others wake at their deadline.
 *
 * The count is in the sequence's own row, added to under its lock: of two hosts that store the last two items at once,
 * neither sees the other's item, but the second sees the first one's count. A repeated item is not counted. A number
 * that another message holds is refused: with the same content it is SKIPPED as a repetition, else DEAD.
 */
export async function gatherItems(
  sql: Sql,
  arrivals: readonly Arrival[],
  by: { readonly set: string; readonly host: string },
): Promise<readonly Arrived[]> {
  const rows = await answerOf(sql`
    WITH arrived AS MATERIALIZED (
      SELECT a.*, known.message_id AS known_id, known.fingerprint AS known_fingerprint, s.size AS known_size
      FROM json_to_recordset(${JSON.stringify(arrivals.map(asRow))}::json) AS a(n integer, id uuid, subscription text,
        stream text, position integer, size integer, deadline_secs double precision, on_gap text, fingerprint text)
      LEFT JOIN stream_item known USING (subscription, stream, position)
      LEFT JOIN stream s USING (subscription, stream)
      WHERE ${holdTenure(sql, by.set, 'go on')}
    ), stored AS (
      INSERT INTO stream_item (subscription, stream, position, message_id, fingerprint)
      SELECT DISTINCT ON (subscription, stream, position) subscription, stream, position, id, fingerprint
      FROM arrived WHERE known_id IS NULL AND size = coalesce(known_size, size)
      ORDER BY subscription, stream, position, n
      ON CONFLICT (subscription, stream, position) DO NOTHING
      RETURNING subscription, stream, position, message_id, fingerprint
    ), counted AS (
      INSERT INTO stream AS s (subscription, stream, state, size, arrived, on_gap, deadline_at)
      SELECT a.subscription, a.stream, 'GATHERING', min(a.size), count(DISTINCT a.position), min(a.on_gap),
        now() + make_interval(secs => min(a.deadline_secs))
      FROM arrived a JOIN stored st ON st.message_id = a.id AND st.subscription = a.subscription AND st.stream = a.stream
      GROUP BY a.subscription, a.stream ORDER BY a.subscription, a.stream
      ON CONFLICT (subscription, stream) DO UPDATE SET arrived = s.arrived + excluded.arrived, updated_at = now()
      RETURNING subscription, stream, state, arrived, size, deadline_at
    ), woken AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, stream, due_at)
      SELECT 'order', ${by.set}, '{}'::uuid[], subscription, stream,
        CASE WHEN arrived >= size OR state = 'BLOCKED' THEN now() ELSE deadline_at END
      FROM counted WHERE state IN ('GATHERING', 'ASKED', 'BLOCKED') ORDER BY subscription, stream
      ON CONFLICT (set_id, subscription, stream) WHERE stream IS NOT NULL DO UPDATE
        SET signals = agenda.signals + 1, due_at = least(agenda.due_at, excluded.due_at)
    ), judged AS (
      SELECT a.n, a.id, a.subscription, CASE
        WHEN coalesce(a.known_id, st.message_id) = a.id THEN 'ordered'
        WHEN coalesce(a.known_fingerprint, st.fingerprint) = a.fingerprint THEN 'repeated'
        WHEN coalesce(a.known_id, st.message_id) IS NOT NULL OR a.size <> a.known_size THEN 'refused'
        ELSE 'unclear' END AS verdict
      FROM arrived a LEFT JOIN stored st USING (subscription, stream, position)
    ), ended AS (
      INSERT INTO delivery (message_id, subscription, state, attempts)
      SELECT DISTINCT id, subscription, CASE verdict WHEN 'repeated' THEN 'SKIPPED' ELSE 'DEAD' END, 0
      FROM judged WHERE verdict IN ('repeated', 'refused')
      ON CONFLICT (message_id, subscription) DO NOTHING
      RETURNING message_id, subscription, state
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT message_id, CASE state WHEN 'SKIPPED' THEN 'skipped' ELSE 'refused' END, ${by.host},
        CASE state WHEN 'SKIPPED' THEN 'Its session has this item already: ' ELSE 'Its session has another item under this number: ' END
        || subscription
      FROM ended
    )
    SELECT n, verdict FROM judged`);
  const verdicts = new Map(rows.map((row) => [Number(row['n']), row['verdict'] as unknown]));
  return arrivals.map((_, n) => {
    const verdict = verdicts.get(n);
    return verdict === 'refused' || verdict === 'unclear' ? verdict : 'ordered';
  });
}

function asRow({ messageId, subscription, stream, item }: Arrival, n: number): Row {
  return {
    n,
    id: toUuid(messageId),
    subscription,
    stream,
    position: item?.sequence,
    size: item?.size,
    deadline_secs: (item?.deadlineMs ?? 0) / 1000,
    on_gap: item?.onGap,
    fingerprint: item?.fingerprint,
  };
}

/** The comparison is with the locked row: an arrival that came in between has made the stream due already. */
export async function restStream(
  sql: Sql,
  { entry, token }: StreamLease,
  { signals }: StreamView,
  afterMs: number,
): Promise<void> {
  await answerOf(sql`
    UPDATE agenda SET due_at = now() + make_interval(secs => ${afterMs / 1000})
    WHERE id = ${entry}::bigint AND lease_token = ${token}::bigint AND signals = ${signals}`);
}

/** The largest sequence there is. */
const maxSequence = 500;

export async function loadMissing(sql: Sql, lease: LoadLease): Promise<readonly Message[]> {
  const rows = await answerOf(sql`
    SELECT m.id, owner, topic, tag, key, set_id, reason, distance_km, accepted_at, expires_at,
      content_type, headers, traceparent, options, encode(body, 'base64') AS body
    FROM message m JOIN message_body b ON b.id = m.id
    WHERE m.session = ${lease.session} AND m.owner = ${lease.owner} AND m.topic = ${lease.topic}
      AND m.sequence IS NOT NULL AND m.state IN ('READY', 'CONFIRMED', 'UNROUTABLE', 'FAILED')
      AND NOT EXISTS (SELECT FROM stream_item i WHERE i.message_id = m.id AND i.subscription = ${lease.subscription})
    LIMIT ${maxSequence}`);
  return rows.map(messageOf);
}

export async function changeAssembly(
  sql: Sql,
  { lease, seen, state, cursor, mark, because, gap, restMs }: AssemblyChange,
  host: string,
): Promise<'changed' | 'overtaken'> {
  const restSecs = restMs / 1000;
  const rows = await answerOf(sql`
    WITH moved AS (
      UPDATE stream SET state = ${state}, position = greatest(position, ${cursor}::bigint), updated_at = now(),
        deadline_at = now() + make_interval(secs => ${restSecs})
      WHERE subscription = ${lease.subscription} AND stream = ${lease.stream} AND arrived = ${seen.assembly?.arrived ?? 0}
        AND EXISTS (SELECT FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint)
      RETURNING size, on_gap
    ), rested AS (
      UPDATE agenda SET due_at = now() + make_interval(secs => ${restSecs})
      WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint AND ${restMs} > 0 AND EXISTS (SELECT FROM moved)
    ), marked AS (
      INSERT INTO delivery AS d (message_id, subscription, state, attempts)
      SELECT m.id, ${lease.subscription}, ${mark?.as ?? null}::text, 0 FROM message m
      WHERE ${mark !== undefined} AND EXISTS (SELECT FROM moved)
        AND m.session = ${lease.session} AND m.owner = ${lease.owner} AND m.topic = ${lease.topic}
        AND m.sequence > ${mark?.after ?? 0} AND m.sequence <= ${mark?.through ?? 0}
        AND (${mark?.which === 'open'} OR NOT EXISTS (
          SELECT FROM stream_item i WHERE i.message_id = m.id AND i.subscription = ${lease.subscription}))
      ON CONFLICT (message_id, subscription) DO UPDATE
        SET state = excluded.state, next_attempt_at = NULL, updated_at = now()
        WHERE d.state IN ('RETRY', 'BLOCKED') AND d.state <> excluded.state
      RETURNING message_id, state
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT message_id, lower(state), ${host}, ${`${lease.subscription}: ${because}`} FROM marked
    ), told AS (
      INSERT INTO gap_callback (topic, subscription, url, message_id, gap)
      SELECT ${lease.topic}, ${lease.subscription}, said.url, said.id, json_build_object(
        'session', ${lease.session}::text, 'topic', ${lease.topic}::text, 'subscription', ${lease.subscription}::text,
        'size', moved.size, 'why', ${gap?.why ?? null}::text, 'items', (
          SELECT json_agg(json_build_object('sequence', n, 'message', (
            SELECT id FROM message m WHERE m.session = ${lease.session} AND m.owner = ${lease.owner} AND m.topic = ${lease.topic}
              AND m.sequence = n LIMIT 1)) ORDER BY n)
          FROM generate_series(1, moved.size) AS n
          WHERE CASE ${gap?.why ?? null}::text WHEN 'dead' THEN n = ${gap?.at ?? 0} ELSE NOT EXISTS (
            SELECT FROM stream_item i WHERE i.subscription = ${lease.subscription} AND i.stream = ${lease.stream} AND i.position = n) END),
        'onGap', moved.on_gap, 'state', ${state}::text, 'decidedAt', to_json(now()))
      FROM moved CROSS JOIN LATERAL (
        SELECT m.id, b.options->'order'->>'gapCallback' AS url FROM message m JOIN message_body b ON b.id = m.id
        WHERE m.session = ${lease.session} AND m.owner = ${lease.owner} AND m.topic = ${lease.topic} AND m.sequence IS NOT NULL
        ORDER BY m.sequence LIMIT 1) AS said
      WHERE ${gap !== undefined}::boolean AND said.url IS NOT NULL
      RETURNING id
    ), planned AS (
      INSERT INTO agenda (kind, set_id, refs, due_at)
      SELECT 'gap', a.set_id, ARRAY[told.id], now() FROM told, agenda a WHERE a.id = ${lease.entry}::bigint
    )
    SELECT count(*) AS moved FROM moved`);
  return Number(rows[0]?.['moved']) > 0 ? 'changed' : 'overtaken';
}
