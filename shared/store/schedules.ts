/** Schedules in one database. One query, one function. */
import { Buffer } from 'node:buffer';
import type { DueEntry } from '../agenda/agenda.ts';
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
    ...shared(row),
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

/** What a schedule is to people and to whoever runs it. */
function shared(row: Row): Pick<Schedule, 'id' | 'owner' | 'name' | 'cron' | 'timeZone' | 'missed'> {
  return {
    id: scheduleOf(idOf(row['id'])),
    owner: text(row['owner']),
    name: textOrNull(row['name']),
    cron: text(row['cron']),
    timeZone: text(row['time_zone']),
    missed: row['missed'] as Missed,
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
      ...shared(row),
      message: { ...content, body: Buffer.from(text(row['body64']), 'base64') },
      nowMs: Number(row['now_ms']),
      sinceMs: Number(row['since_ms']),
      ...(row['next_ms'] === null ? {} : { nextMs: Number(row['next_ms']) }),
    };
  });
}

/**
 * Writes what was published and moves schedules and their entries to the next ticks, each while its lease is held. Rows
 * are locked as a pause locks them, schedules before entries, so that the two wait for each other and do not deadlock.
 */
export async function moveSchedules(sql: Sql, moves: readonly ScheduleMove[]): Promise<void> {
  const wished = moves.map(({ lease, id, nextMs }) => ({
    ...lease,
    id: toUuid(id),
    next: nextMs === undefined ? null : new Date(nextMs).toISOString(),
  }));
  const ran = moves.flatMap(({ id, ran: runs }) =>
    runs.map(({ tickMs, message }) => ({ id: toUuid(id), tick: tickMs / 1000, message: toUuid(message) })),
  );
  await answerOf(sql`
    WITH wished AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(wished)}::json) AS w(entry bigint, token bigint, id uuid, next timestamptz)
    ), locked AS MATERIALIZED (
      SELECT id FROM schedule WHERE id IN (SELECT id FROM wished) ORDER BY id FOR UPDATE
    ), held AS MATERIALIZED (
      SELECT w.* FROM agenda a JOIN wished w ON a.id = w.entry AND a.lease_token = w.token
      WHERE (SELECT count(*) FROM locked) >= 0 ORDER BY a.id FOR UPDATE OF a
    ), moved AS (
      UPDATE schedule s SET next_at = held.next FROM held WHERE s.id = held.id AND s.state = 'ACTIVE' RETURNING s.id
    ), written AS (
      INSERT INTO schedule_run (schedule_id, tick, message_id)
      SELECT id, to_timestamp(tick), message
      FROM json_to_recordset(${JSON.stringify(ran)}::json) AS r(id uuid, tick double precision, message uuid) JOIN moved USING (id)
      ON CONFLICT (schedule_id, tick) DO NOTHING
    ), forgotten AS (
      DELETE FROM schedule_run old USING moved WHERE old.schedule_id = moved.id AND old.tick < (
        SELECT tick FROM schedule_run WHERE schedule_id = moved.id ORDER BY tick DESC OFFSET ${keptRuns - 1} LIMIT 1)
    ), again AS (
      UPDATE agenda a SET due_at = held.next, lease_token = nextval('lease_token')
      FROM held JOIN moved USING (id) WHERE a.id = held.entry AND held.next IS NOT NULL
    )
    DELETE FROM agenda a USING held
    WHERE a.id = held.entry AND (held.next IS NULL OR held.id NOT IN (SELECT id FROM moved))`);
}
