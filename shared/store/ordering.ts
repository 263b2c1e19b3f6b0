/**
 * Streams in Postgres. One query, one function. Rows of `stream` are locked before rows of `agenda`, and each by
 * subscription and stream, so that statements about many streams wait for each other and do not deadlock.
 */
import { toUuid } from '../identifier.ts';
import type { DeliveryState } from '../message/lifecycle.ts';
import { answerOf, type Sql } from './database.ts';
import { outcomeRow } from './deliveries.ts';
import { owedCallbacks } from './end-callbacks.ts';
import type {
  Arrival,
  Arrived,
  Assembly,
  LoadLease,
  Stepped,
  StreamItem,
  StreamStep,
  StreamView,
} from './ordered-store.ts';
import { idOf, messageOf, type Row } from './rows.ts';
import { holdTenure } from './tenure.ts';

/**
 * An arrival is no more than a wake-up: the lane's entries are in the store. One whose stream is behind it wakes the
 * stream, or counts its signals up if it is awake; a due time stays as it is, because it may be the end of a retry's
 * delay. One that the cursor has passed has its outcome, or else it is astray: nobody would deliver it.
 */
export async function arriveInLanes(
  sql: Sql,
  arrivals: readonly Arrival[],
  set: string,
): Promise<readonly Arrived[]> {
  const given = arrivals.map(({ messageId, subscription, stream, sinceMs = 0 }, n) => ({
    n,
    id: toUuid(messageId),
    subscription,
    stream,
    since: sinceMs / 1000,
  }));
  const rows = await answerOf(sql`
    WITH arrived AS MATERIALIZED (
      SELECT a.*, b.position AS begins_at, e.position > coalesce(s.position, b.position, 0) AS ahead
      FROM json_to_recordset(${JSON.stringify(given)}::json) AS a(n integer, id uuid, subscription text, stream text, since double precision)
      LEFT JOIN LATERAL (SELECT * FROM lane_entry WHERE message_id = a.id LIMIT 1) e ON true
      LEFT JOIN LATERAL (SELECT position FROM stream WHERE subscription = a.subscription AND stream = a.stream LIMIT 1) s ON true
      LEFT JOIN LATERAL (
        SELECT le.position FROM lane_entry le JOIN message m ON m.id = le.message_id
        WHERE s.position IS NULL AND a.since > 0 AND m.stored_at < to_timestamp(a.since)
          AND le.owner = e.owner AND le.topic = e.topic AND le.lane = e.lane
        ORDER BY le.position DESC LIMIT 1) b ON true
      WHERE ${holdTenure(sql, set, 'go on')}
    ), begun AS (
      INSERT INTO stream (subscription, stream, position)
      SELECT subscription, stream, max(begins_at) FROM arrived WHERE begins_at IS NOT NULL
      GROUP BY subscription, stream ORDER BY subscription, stream
      ON CONFLICT (subscription, stream) DO NOTHING RETURNING 1
    ), woken AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, stream, due_at)
      SELECT DISTINCT ON (subscription, stream) 'order', ${set}, '{}'::uuid[], subscription, stream, now()
      FROM arrived WHERE ahead AND (SELECT count(*) FROM begun) >= 0 ORDER BY subscription, stream
      ON CONFLICT (set_id, subscription, stream) WHERE stream IS NOT NULL DO UPDATE SET signals = agenda.signals + 1
    )
    SELECT n FROM arrived a WHERE ahead IS NOT TRUE
      AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = a.id AND d.subscription = a.subscription)`);
  const astray = new Set(rows.map((row) => Number(row['n'])));
  return arrivals.map((_, n) => (astray.has(n) ? 'astray' : 'ordered'));
}

/** How many bytes of bodies of one stream before a load of a lane ends early. */
const maxBytes = 262_144;

/**
 * The next items of streams with their messages and the deliveries as they stand. Signals and entries are of one
 * snapshot: an arrival that counted a signal was committed after the entry it came for.
 */
export async function loadStreams(
  sql: Sql,
  leases: readonly LoadLease[],
  set?: string,
): Promise<readonly (StreamView | undefined)[]> {
  const wished = leases.map((lease, n) => ({ n, ...lease }));
  const rows = await answerOf(sql`
    SELECT w.n, a.signals, s.state AS stage, s.size, s.arrived, s.on_gap, s.position AS cursor,
      extract(epoch FROM s.deadline_at - now()) * 1000 AS left_ms,
      e.position, e.message_id, e.found, d.state, d.attempts, d.held_ms, m.*
    FROM json_to_recordset(${JSON.stringify(wished)}::json) AS w(n integer, entry bigint, token bigint, subscription text,
      stream text, owner text, topic text, lane text, "limit" integer)
    JOIN agenda a ON a.id = w.entry AND a.lease_token = w.token
    LEFT JOIN LATERAL (SELECT * FROM stream WHERE subscription = w.subscription AND stream = w.stream LIMIT 1) s ON true
    LEFT JOIN LATERAL (
      SELECT next.*, count(*) OVER () AS found,
        CASE WHEN w.lane IS NOT NULL THEN sum(next.size) OVER (ORDER BY next.position) - next.size END AS bytes_before
      FROM (
        SELECT entry.*, (SELECT size FROM message WHERE id = entry.message_id) AS size FROM (
          (SELECT le.position, le.message_id FROM lane_entry le
          WHERE le.owner = w.owner AND le.topic = w.topic AND le.lane = w.lane AND le.position > coalesce(s.position, 0)
          ORDER BY le.position LIMIT w."limit")
          UNION ALL
          (SELECT si.position, si.message_id FROM stream_item si
          WHERE w.lane IS NULL AND si.subscription = w.subscription AND si.stream = w.stream AND si.position > s.position
          ORDER BY si.position LIMIT w."limit")
        ) entry
      ) next
    ) e ON e.bytes_before IS NULL OR e.bytes_before < ${maxBytes}
    LEFT JOIN LATERAL (
      SELECT state, attempts, extract(epoch FROM next_attempt_at - now()) * 1000 AS held_ms FROM delivery
      WHERE message_id = e.message_id AND subscription = w.subscription LIMIT 1
    ) d ON true
    LEFT JOIN LATERAL (
      SELECT mm.id, owner, topic, tag, key, set_id, reason, distance_km, accepted_at, expires_at,
        content_type, headers, traceparent, options, encode(body, 'base64') AS body
      FROM message mm, message_body b
      WHERE mm.id = e.message_id AND b.id = e.message_id LIMIT 1
    ) m ON true
    WHERE ${holdTenure(sql, set, 'go on')}
    ORDER BY w.n, e.position`);
  const byStream = Map.groupBy(rows, (row) => Number(row['n']));
  return leases.map(({ limit }, n) => viewOf(byStream.get(n), limit));
}

function viewOf(rows: readonly Row[] | undefined, limit: number): StreamView | undefined {
  const [first] = rows ?? [];
  if (!rows || !first) return undefined;
  const items = rows.flatMap((row) => (row['position'] === null ? [] : [itemOf(row)]));
  const found = Number(first['found'] ?? 0);
  const more = found < limit && items.length === found ? 'none' : 'perhaps';
  const assembly = first['stage'] === null ? {} : { assembly: assemblyOf(first) };
  return { signals: Number(first['signals']), items, more, ...assembly };
}

function assemblyOf(row: Row): Assembly {
  return {
    state: row['stage'] as Assembly['state'],
    size: Number(row['size']),
    arrived: Number(row['arrived']),
    onGap: row['on_gap'] as Assembly['onGap'],
    cursor: Number(row['cursor']),
    leftMs: Number(row['left_ms']),
  };
}

function itemOf(row: Row): StreamItem {
  return {
    position: Number(row['position']),
    messageId: idOf(row['message_id']),
    message: row['id'] === null ? undefined : messageOf(row),
    state: (row['state'] as DeliveryState | null) ?? undefined,
    attempts: Number(row['attempts'] ?? 0),
    ...(row['state'] === 'LEASED' ? { heldMs: Number(row['held_ms']) } : {}),
  };
}

/**
 * Records outcomes and moves cursors, many streams in one statement.
 *
 * A worker whose lease is over may still say DONE, which is true whoever says it; what else it decided is logged as an
 * attempt and changes nothing. RETRY leaves the cursor and makes the stream due again with the item; so does LEASED, with
 * the end of the lease. A stream is closed
 * by its last step unless somebody arrived since it was loaded: the comparison is with the locked row itself, because a
 * sub-select would still see the snapshot of before the wait.
 */
export async function stepStreams(
  sql: Sql,
  steps: readonly StreamStep[],
  host: string,
  set?: string,
): Promise<readonly Stepped[]> {
  const rows = await answerOf(sql`
    WITH step AS MATERIALIZED (
      SELECT s.*, a.id IS NOT NULL AS held
      FROM json_to_recordset(${JSON.stringify(steps.map(asRow))}::json) AS s(
        n integer, entry bigint, token bigint, subscription text, stream text, position bigint, close_at integer,
        message_id uuid, state text, attempt integer, status integer, error text, ms real, retry_secs double precision, callback json)
      LEFT JOIN LATERAL (SELECT id FROM agenda WHERE id = s.entry AND lease_token = s.token LIMIT 1) a ON true
      WHERE ${holdTenure(sql, set, 'go on')}
    ), tracked AS (
      INSERT INTO delivery AS d (message_id, subscription, state, attempts, next_attempt_at, entry)
      SELECT DISTINCT ON (message_id, subscription) message_id, subscription, state, attempt,
        CASE WHEN state IN ('RETRY', 'LEASED') THEN now() + make_interval(secs => retry_secs) END,
        CASE WHEN state IN ('RETRY', 'LEASED') THEN entry END
      FROM step WHERE state IS NOT NULL AND (held OR state = 'DONE')
      ORDER BY message_id, subscription, state <> 'DONE', attempt DESC
      ON CONFLICT (message_id, subscription) DO UPDATE
        SET state = excluded.state, attempts = greatest(d.attempts, excluded.attempts),
          next_attempt_at = excluded.next_attempt_at, entry = excluded.entry, updated_at = now()
        WHERE d.state IN ('RETRY', 'BLOCKED', 'LEASED')
          AND (CASE d.state WHEN 'LEASED' THEN excluded.state = 'DONE' OR d.next_attempt_at <= now()
            ELSE excluded.state NOT IN ('RETRY', 'LEASED') END OR excluded.attempts > d.attempts)
      RETURNING message_id, subscription, state, attempts
    ), ${owedCallbacks(sql, 'step')}, logged AS (
      INSERT INTO attempt (message_id, subscription, attempt, host, status, outcome, duration_ms, error)
      SELECT message_id, subscription, attempt, ${host}, status, state, ms, error FROM step WHERE ms IS NOT NULL
    ), moved AS (
      INSERT INTO stream AS s (subscription, stream, position)
      SELECT subscription, stream, max(position) FROM step
      WHERE coalesce(state, '') NOT IN ('RETRY', 'LEASED') AND (held OR state = 'DONE')
      GROUP BY subscription, stream ORDER BY subscription, stream
      ON CONFLICT (subscription, stream) DO UPDATE SET position = excluded.position, updated_at = now()
        WHERE excluded.position > s.position
      RETURNING 1
    ), locked AS (
      SELECT a.id FROM agenda a JOIN step s ON a.id = s.entry AND a.lease_token = s.token
      WHERE (s.state IN ('RETRY', 'LEASED') OR s.close_at IS NOT NULL) AND (SELECT count(*) FROM moved) >= 0
      ORDER BY s.subscription, s.stream FOR UPDATE OF a
    ), put_off AS (
      -- A lease that was not written, because its consumer answered before, is over already.
      UPDATE agenda a SET due_at = now() + make_interval(secs => CASE WHEN s.state = 'LEASED' AND NOT EXISTS (SELECT FROM tracked t
        WHERE t.message_id = s.message_id AND t.subscription = s.subscription) THEN 0 ELSE s.retry_secs END)
      FROM step s, locked l
      WHERE a.id = l.id AND a.id = s.entry AND a.lease_token = s.token AND s.state IN ('RETRY', 'LEASED')
    ), closed AS (
      DELETE FROM agenda a USING step s, locked l
      WHERE a.id = l.id AND a.id = s.entry AND a.lease_token = s.token AND a.signals = s.close_at
      RETURNING s.n
    )
    SELECT s.n, s.held, c.n IS NOT NULL AS closed FROM step s LEFT JOIN closed c ON c.n = s.n`);
  const said = new Map(rows.map((row) => [Number(row['n']), row]));
  return steps.map((_, n) => {
    const row = said.get(n);
    if (row?.['held'] !== true) return 'lost';
    return row['closed'] === true ? 'closed' : 'held';
  });
}

function asRow({ lease, position, outcome, closeAt }: StreamStep, n: number): Row {
  return {
    ...(outcome ? outcomeRow(outcome) : {}),
    n,
    entry: lease.entry,
    token: lease.token,
    subscription: lease.subscription,
    stream: lease.stream,
    position,
    close_at: closeAt,
  };
}
