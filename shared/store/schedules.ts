/** Schedules in one database. One query, one function. */
import { Buffer } from 'node:buffer';
import type { DueEntry, Lease } from '../agenda/agenda.ts';
import { fromUuid, scheduleOf, toUuid, type ScheduleId } from '../identifier.ts';
import { Problem } from '../problem.ts';
import type {
  DueSchedule,
  Missed,
  Schedule,
  ScheduleChange,
  ScheduleMove,
  ScheduleRecord,
  ScheduleRun,
} from '../sets/schedule.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, instant, text, textOrNull, type Row } from './rows.ts';

/** More than anybody needs in one database, and few enough to be listed at once. */
const maxPerOwner = 1_000;
const keptRuns = 20;

/**
 * Writes a schedule with its agenda entry, due at once: the host that claims it works out the first tick from the
 * database's clock.
 * @throws Problem `conflict` when the owner has too many
 */
export async function createSchedule(sql: Sql, set: string, schedule: Schedule): Promise<ScheduleRecord> {
  const { id, owner, name, cron, timeZone, missed, fingerprint } = schedule;
  const { body, ...message } = schedule.message;
  const uuid = toUuid(id);
  await answerOf(sql`
    WITH made AS (
      INSERT INTO schedule (id, owner, name, set_id, cron, time_zone, missed, message, body, fingerprint)
      SELECT ${uuid}, ${owner}, ${name}, ${set}, ${cron}, ${timeZone}, ${missed}, ${JSON.stringify(message)}::jsonb,
        decode(${base64Of(body)}, 'base64'), ${fingerprint ?? null}
      WHERE (SELECT count(*) FROM schedule WHERE owner = ${owner}) < ${maxPerOwner}
      ON CONFLICT (id) DO NOTHING RETURNING id
    )
    INSERT INTO agenda (kind, set_id, refs, due_at) SELECT 'schedule', ${set}, ARRAY[id], now() FROM made`);
  const record = await findSchedule(sql, id);
  if (!record) throw new Problem('conflict', `At most ${maxPerOwner} schedules in one database.`);
  return record;
}

function base64Of({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

function recordsWhere(sql: Sql, condition: ReturnType<Sql>): ReturnType<Sql> {
  return sql`
    SELECT s.*, length(s.body) AS size, (
      SELECT json_agg(json_build_object('tick', tick, 'message', message_id, 'at', at) ORDER BY tick DESC)
      FROM (SELECT * FROM schedule_run WHERE schedule_id = s.id ORDER BY tick DESC LIMIT ${keptRuns}) AS r) AS runs
    FROM schedule s WHERE ${condition} ORDER BY s.created_at, s.id LIMIT ${maxPerOwner}`;
}

export async function findSchedule(sql: Sql, id: ScheduleId): Promise<ScheduleRecord | undefined> {
  const rows = await answerOf(recordsWhere(sql, sql`s.id = ${toUuid(id)}`));
  return rows.map(recordOf)[0];
}

export async function listSchedules(sql: Sql, owner: string): Promise<readonly ScheduleRecord[]> {
  const rows = await answerOf(recordsWhere(sql, sql`s.owner = ${owner}`));
  return rows.map(recordOf);
}

function recordOf(row: Row): ScheduleRecord {
  const message = row['message'] as Schedule['message'];
  const runs = (row['runs'] ?? []) as readonly { tick: string; message: string; at: string }[];
  return {
    id: scheduleOf(idOf(row['id'])),
    owner: text(row['owner']),
    name: textOrNull(row['name']),
    cron: text(row['cron']),
    timeZone: text(row['time_zone']),
    missed: row['missed'] as Missed,
    state: row['state'] as ScheduleRecord['state'],
    set: text(row['set_id']),
    topic: message.topic,
    tag: message.tag ?? null,
    key: message.key ?? null,
    size: Number(row['size']),
    createdAt: instant(row['created_at']),
    lastRuns: runs.map(({ tick, message: id, at }): ScheduleRun => ({
      tick: instant(tick),
      message: fromUuid(id),
      at: instant(at),
    })),
    fingerprint: textOrNull(row['fingerprint']),
  };
}

/**
 * Pauses, resumes or deletes. A host that has claimed the entry meanwhile finds it gone, and moves nothing; the message
 * of a tick that it was publishing may still come. Ticks of a pause are not missed: a resumed schedule begins anew.
 */
export async function changeSchedule(
  sql: Sql,
  set: string,
  { id, owner, change }: ScheduleChange,
): Promise<ScheduleRecord | undefined> {
  const record = await findSchedule(sql, id);
  if (record?.owner !== owner) return undefined;
  const uuid = toUuid(id);
  const entry = sql`DELETE FROM agenda WHERE set_id = ${set} AND kind = 'schedule' AND refs = ARRAY[${uuid}::uuid]`;
  switch (change) {
    case 'pause':
      await answerOf(
        sql.transaction([
          sql`UPDATE schedule SET state = 'PAUSED', next_at = NULL WHERE id = ${uuid}`,
          entry,
        ]),
      );
      return { ...record, state: 'PAUSED' };
    case 'resume':
      await answerOf(sql`
        WITH resumed AS (
          UPDATE schedule SET state = 'ACTIVE', since = now() WHERE id = ${uuid} AND state = 'PAUSED' RETURNING id
        )
        INSERT INTO agenda (kind, set_id, refs, due_at) SELECT 'schedule', ${set}, ARRAY[id], now() FROM resumed`);
      return { ...record, state: 'ACTIVE' };
    case 'delete':
      await answerOf(
        sql.transaction([
          entry,
          sql`DELETE FROM schedule_run WHERE schedule_id = ${uuid}`,
          sql`DELETE FROM schedule WHERE id = ${uuid}`,
        ]),
      );
      return record;
  }
}

/** The schedules of claimed entries, by the digits of their ids. */
export async function loadSchedules(sql: Sql, entries: readonly DueEntry[]): Promise<readonly DueSchedule[]> {
  const ids = entries.flatMap(({ refs }) => refs).map(toUuid);
  const rows = await answerOf(sql`
    SELECT *, encode(body, 'base64') AS body64, extract(epoch FROM now()) * 1000 AS now_ms,
      extract(epoch FROM since) * 1000 AS since_ms, extract(epoch FROM next_at) * 1000 AS next_ms
    FROM schedule WHERE id = ANY(${ids}::uuid[]) AND state = 'ACTIVE' LIMIT ${ids.length}`);
  return rows.map((row) => {
    const content = row['message'] as Omit<Schedule['message'], 'body'>;
    return {
      id: scheduleOf(idOf(row['id'])),
      owner: text(row['owner']),
      name: textOrNull(row['name']),
      cron: text(row['cron']),
      timeZone: text(row['time_zone']),
      missed: row['missed'] as Missed,
      message: { ...content, body: Buffer.from(text(row['body64']), 'base64') },
      nowMs: Number(row['now_ms']),
      sinceMs: Number(row['since_ms']),
      ...(row['next_ms'] === null ? {} : { nextMs: Number(row['next_ms']) }),
    };
  });
}

/** Writes what was published and moves schedule and entry to the next tick, all while the lease is held. */
export async function moveSchedule(
  sql: Sql,
  lease: Lease,
  id: ScheduleId,
  { ran, nextMs }: ScheduleMove,
): Promise<void> {
  const uuid = toUuid(id);
  const next = nextMs === undefined ? null : new Date(nextMs).toISOString();
  await answerOf(sql`
    WITH held AS (
      SELECT id FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint FOR UPDATE
    ), moved AS (
      UPDATE schedule s SET next_at = ${next}::timestamptz FROM held WHERE s.id = ${uuid} AND s.state = 'ACTIVE'
      RETURNING s.id
    ), written AS (
      INSERT INTO schedule_run (schedule_id, tick, message_id)
      SELECT moved.id, to_timestamp(r.tick_ms / 1000), r.message
      FROM moved, unnest(${ran.map(({ tickMs }) => tickMs)}::double precision[], ${ran.map(({ message }) => toUuid(message))}::uuid[]) AS r(tick_ms, message)
      ON CONFLICT (schedule_id, tick) DO NOTHING
    ), forgotten AS (
      DELETE FROM schedule_run USING moved WHERE schedule_id = moved.id AND tick < (
        SELECT tick FROM schedule_run WHERE schedule_id = ${uuid} ORDER BY tick DESC OFFSET ${keptRuns - 1} LIMIT 1)
    ), again AS (
      UPDATE agenda a SET due_at = ${next}::timestamptz, lease_token = nextval('lease_token')
      FROM held, moved WHERE a.id = held.id AND ${next !== null}::boolean
    )
    DELETE FROM agenda a USING held WHERE a.id = held.id AND (${next === null}::boolean OR NOT EXISTS (SELECT FROM moved))`);
}
