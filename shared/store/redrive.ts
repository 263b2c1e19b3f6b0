/** Redrives in one database: begin, look up, take the next step. */
import { fromUuid, redriveOf, toUuid, type RedriveId } from '../identifier.ts';
import { Problem } from '../problem.ts';
import type { RedriveRecord, RedriveStart, Selection } from '../sets/dead-letters.ts';
import { answerOf, type Sql } from './database.ts';
import { deadConditions, timeOf } from './dead-letters.ts';
import { replayOptions } from './replay.ts';
import { instant, instantOrNull, text, type Row } from './rows.ts';
import type { RedriveEntry, RedriveStep } from './store.ts';
import { holdTenure } from './tenure.ts';

type Fragment = ReturnType<Sql>;

/** Writes the redrive and the agenda entry that does it, once; whoever repeats it gets what is there. */
export async function beginRedrive(sql: Sql, set: string, start: RedriveStart): Promise<RedriveRecord> {
  const { id, of, perSecond, selection, fingerprint } = start;
  const kept = JSON.stringify({ ...selection, subscriptions: of.subscriptions, fingerprint });
  const [, rows = []] = await answerOf(
    sql.transaction([
      sql`
        WITH begun AS (
          INSERT INTO redrive (id, owner, kind, selection, per_second)
          VALUES (${toUuid(id)}, ${of.owner}, ${selection.kind}, ${kept}::jsonb, ${perSecond})
          ON CONFLICT (id) DO NOTHING RETURNING id
        )
        INSERT INTO agenda (kind, set_id, refs, due_at) SELECT 'redrive', ${set}, ARRAY[id], now() FROM begun
        WHERE ${holdTenure(sql, set, 'go on')}`,
      sql`SELECT * FROM redrive WHERE id = ${toUuid(id)}`,
    ]),
  );
  const [record] = rows.map(recordOf);
  if (!record) throw new Problem('internal', 'A redrive was not there after it was written.');
  return record;
}

export async function findRedrive(sql: Sql, id: RedriveId): Promise<RedriveRecord | undefined> {
  const rows = await answerOf(sql`SELECT * FROM redrive WHERE id = ${toUuid(id)}`);
  return rows.map(recordOf)[0];
}

function recordOf(row: Row): RedriveRecord {
  const { fingerprint } = row['selection'] as { readonly fingerprint?: string };
  return {
    id: redriveOf(fromUuid(text(row['id']))),
    owner: text(row['owner']),
    state: row['state'] as RedriveRecord['state'],
    handled: Number(row['handled']),
    perSecond: Number(row['per_second']),
    beganAt: instant(row['began_at']),
    endedAt: instantOrNull(row['ended_at']),
    fingerprint: fingerprint ?? null,
  };
}

/** Deliveries of one step: as many as fall due within some seconds, so that progress can be seen and nothing floods. */
const stepSeconds = 5;
const maxStep = 500;

/**
 * The next step of a redrive: one statement takes up some deliveries, writes the agenda entries that try them, counts
 * them, and moves the redrive's own entry on, all of it only while the lease is held. So a crash before it changed
 * nothing, a crash after it goes on behind it, and of two steps at once one does nothing.
 */
export async function stepRedrive(
  sql: Sql,
  { set, host }: { readonly set: string; readonly host: string },
  { entry, token, id }: RedriveEntry,
): Promise<RedriveStep> {
  const [job] = await answerOf(sql`SELECT * FROM redrive WHERE id = ${toUuid(id)} AND state = 'RUNNING'`);
  if (!job) {
    await answerOf(sql`DELETE FROM agenda WHERE id = ${entry}::bigint AND lease_token = ${token}::bigint`);
    return { handled: 0, state: 'DONE' };
  }
  const perSecond = Number(job['per_second']);
  const size = Math.min(Math.max(1, Math.ceil(perSecond * stepSeconds)), maxStep);
  const rows = await answerOf(sql`
    WITH held AS (
      SELECT id FROM agenda WHERE id = ${entry}::bigint AND lease_token = ${token}::bigint AND ${holdTenure(sql, set, 'go on')} FOR UPDATE
    ), job AS (
      SELECT * FROM redrive WHERE id = ${toUuid(id)}
    ), ${takenBy(sql, { job, size, host })}, tried AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
      SELECT 'redeliver', ${set}, ARRAY[message_id], subscription,
        now() + make_interval(secs => (turn - 1) / ${perSecond}::double precision)
      FROM begun
    ), counted AS (
      UPDATE redrive r SET handled = handled + (SELECT count(*) FROM begun), updated_at = now(),
        state = CASE WHEN (SELECT count(*) FROM picked) < ${size} THEN 'DONE' ELSE 'RUNNING' END,
        ended_at = CASE WHEN (SELECT count(*) FROM picked) < ${size} THEN now() END,
        after_at = coalesce((SELECT at FROM picked ORDER BY turn DESC LIMIT 1), after_at),
        after_id = coalesce((SELECT message_id FROM picked ORDER BY turn DESC LIMIT 1), after_id)
      FROM held WHERE r.id = ${toUuid(id)} AND r.state = 'RUNNING'
      RETURNING r.state
    ), ended AS (
      DELETE FROM agenda a USING held, counted WHERE a.id = held.id AND counted.state = 'DONE'
    ), next AS (
      UPDATE agenda a SET lease_token = nextval('lease_token'),
        due_at = now() + make_interval(secs => ${size / perSecond}::double precision)
      FROM held, counted WHERE a.id = held.id AND counted.state = 'RUNNING'
    )
    SELECT (SELECT count(*) FROM begun)::int AS handled, (SELECT state FROM counted) AS state`);
  const state = rows[0]?.['state'] === 'RUNNING' ? 'RUNNING' : 'DONE';
  return { handled: Number(rows[0]?.['handled']), state };
}

interface Taking {
  readonly job: Row;
  readonly size: number;
  readonly host: string;
}

type Kept = Selection & { readonly subscriptions: readonly string[] };

/** CTEs `picked` (what comes next, by `turn`) and `begun` (what is tried: message_id, subscription, turn). */
function takenBy(sql: Sql, taking: Taking): Fragment {
  const selection = taking.job['selection'] as Kept;
  return selection.kind === 'subscription'
    ? heardAgain(sql, taking, selection)
    : revived(sql, taking, selection);
}

/** What died again since the redrive began is left: it had its chance. */
function revived(
  sql: Sql,
  { job, size, host }: Taking,
  selection: Extract<Kept, { readonly kind: 'dead-letters' }>,
): Fragment {
  const { filter, ids, subscriptions } = selection;
  const names = filter.subscription === undefined ? subscriptions : [filter.subscription];
  return sql`picked AS (
      SELECT found.*, row_number() OVER (ORDER BY at, message_id, subscription) AS turn FROM (
        SELECT d.message_id, d.subscription, d.updated_at AS at
        FROM held, delivery d JOIN message m ON m.id = d.message_id
        WHERE d.subscription = ANY(${names}::text[]) AND d.state = 'DEAD'
          AND d.updated_at < (SELECT began_at FROM job)
          AND (${ids === undefined}::boolean OR d.message_id = ANY(${(ids ?? []).map(toUuid)}::uuid[]))
          AND ${deadConditions(sql, text(job['owner']), filter)}
        ORDER BY d.updated_at LIMIT ${size}) AS found
    ), begun AS (
      UPDATE delivery d SET state = 'RETRY', attempts = 0, updated_at = now(),
        next_attempt_at = now() + make_interval(secs => (turn - 1) / ${Number(job['per_second'])}::double precision)
      FROM picked p WHERE d.message_id = p.message_id AND d.subscription = p.subscription AND d.state = 'DEAD'
      RETURNING d.message_id, d.subscription, p.turn
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT message_id, 'redriven', ${host}, subscription FROM begun
    )`;
}

/**
 * New messages with the content of the old ones, each for this subscription alone. They take over SET and shard of the
 * old id, so that they are found where they are. Never sent to the broker: CONFIRMED without a time of confirming.
 */
function heardAgain(
  sql: Sql,
  { job, size, host }: Taking,
  selection: Extract<Kept, { readonly kind: 'subscription' }>,
): Fragment {
  const { fromMs, pattern, subscription, toMs, topic } = selection;
  return sql`picked AS (
      SELECT found.*, row_number() OVER (ORDER BY at, message_id) AS turn,
        (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')
          || substr(replace(message_id::text, '-', ''), 13, 6) || substr(md5(gen_random_uuid()::text), 1, 14))::uuid AS new_id
      FROM (
        SELECT m.id AS message_id, m.stored_at AS at FROM held, message m
        WHERE m.topic = ${topic} AND m.owner = ${text(job['owner'])} AND m.state = 'CONFIRMED' AND m.confirmed_at IS NOT NULL
          AND m.stored_at >= greatest(${timeOf(fromMs)}::timestamptz, (SELECT after_at FROM job))
          AND m.stored_at < least(${timeOf(toMs) ?? 'infinity'}::timestamptz, (SELECT began_at FROM job))
          AND ((SELECT after_at FROM job) IS NULL
            OR (m.stored_at, m.id) > ((SELECT after_at FROM job), (SELECT after_id FROM job)))
          AND (CASE WHEN coalesce(m.tag, '') = '' THEN '' ELSE '.' || m.tag END) ~ ${pattern}
        ORDER BY m.stored_at, m.id LIMIT ${size}) AS found
    ), copied AS (
      INSERT INTO message (id, owner, topic, tag, key, state, set_id, reason, size, accepted_at)
      SELECT new_id, owner, topic, tag, key, 'CONFIRMED', set_id, 'replay', size, now()
      FROM picked JOIN message m ON m.id = message_id
    ), bodies AS (
      INSERT INTO message_body (id, content_type, headers, traceparent, options, body)
      SELECT new_id, content_type, headers, traceparent, ${replayOptions(sql)}, body
      FROM picked JOIN message_body b ON b.id = message_id
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT new_id, 'replayed', ${host}, ${subscription} FROM picked
    ), begun AS (
      SELECT new_id AS message_id, ${subscription}::text AS subscription, turn FROM picked
    )`;
}
