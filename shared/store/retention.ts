/**
 * Retention by dropping a day's partitions whole, for what is at an end. A message belongs to the day of its id, and may
 * be open for long: scheduled for next year, undecided, not delivered yet. Before its day is dropped it moves, with all
 * it has, to the partitions of strays, where rows go one by one once their end is as old as the retention.
 *
 * Everything about one day is one transaction, so a prune that dies, or two at once, leave it as it was or finished.
 */
import { asProblem } from '../problem.ts';
import { answerOf, type Sql } from './database.ts';
import type { Retention } from './store.ts';

/** Partitions are made this many days ahead, so that a week without any cron loses nothing. */
const daysAhead = 7;
/**
 * Open messages of a day that are moved at once: a fraction of a second. A day with more stays until they are fewer,
 * since its table is locked for everybody meanwhile.
 */
const maxMoved = 10_000;
/** Strays that one statement removes. */
const maxRemoved = 10_000;
/** Below Postgres's deadlock check (1 s): whoever gives way to the other is always this one. */
const lockTimeout = '500ms';
const tries = 3;

export async function rotateDays(
  sql: Sql,
  retention: Retention,
): Promise<{ readonly made: number; readonly dropped: number }> {
  const [made = [], days = []] = await answerOf(
    sql.transaction([
      sql`SELECT count(*) FILTER (WHERE make_day(current_date + n)) AS made FROM generate_series(-1, ${daysAhead}::integer) AS n`,
      sql`SELECT DISTINCT to_date(right(relname, 8), 'YYYYMMDD')::text AS day FROM pg_class
        WHERE relkind = 'r' AND relname ~ '^(message|message_body|message_event|delivery|attempt)_[0-9]{8}$'
        AND right(relname, 8) < to_char(current_date - ${retention.days}::integer, 'YYYYMMDD') ORDER BY day LIMIT 1000`,
      sql`DELETE FROM departure WHERE left_at < now() - make_interval(days => ${retention.days}::integer)`,
      // As the original: by its own age, or that of the time it was to be sent at.
      sql`DELETE FROM mirror_copy WHERE kept_at < now() - make_interval(days => ${retention.days}::integer)
        AND coalesce(due_at, kept_at) < now() - make_interval(days => ${retention.days}::integer)`,
      sql`DELETE FROM idempotency WHERE created_at < now() - make_interval(hours => ${retention.idempotencyHours}::integer)`,
    ]),
  );
  let dropped = 0;
  for (const { day } of days) dropped += await retireDay(sql, String(day));
  while ((await removeEndedStrays(sql, retention.days)) === maxRemoved);
  await removeOrphans(sql, retention.days);
  return { made: Number(made[0]?.['made']), dropped };
}

/** @returns how many tables were dropped: none when the day has too much open, or everybody holds on to it */
async function retireDay(sql: Sql, day: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      const [, rows = []] = await answerOf(
        sql.transaction([
          sql.query(`SET LOCAL lock_timeout = '${lockTimeout}'`),
          sql`SELECT retire_day(${day}::date, ${maxMoved}) AS dropped`,
        ]),
      );
      return Number(rows[0]?.['dropped']);
    } catch (error) {
      const problem = asProblem(error);
      if (problem.kind !== 'internal') throw problem;
      // Somebody held a lock, or another prune was here first: the next prune looks again.
      if (attempt === tries) return 0;
    }
  }
}

/** Strays whose last change is older than the retention. Returns how many messages. */
async function removeEndedStrays(sql: Sql, days: number): Promise<number> {
  const [row] = await answerOf(sql`
    WITH bound AS MATERIALIZED (SELECT now() - make_interval(days => ${days}::integer) AS at, day_floor(current_date - ${days}::integer) AS id),
    ended AS MATERIALIZED (
      SELECT m.id FROM message_stray m, bound
      WHERE m.id < bound.id AND NOT is_open(m.state)
        AND greatest(m.stored_at, m.confirmed_at, m.deliver_at) < bound.at
        AND NOT EXISTS (SELECT FROM delivery_stray d WHERE d.message_id = m.id AND (is_open(d.state) OR d.updated_at >= bound.at))
        AND NOT EXISTS (SELECT FROM message_event_stray e WHERE e.message_id = m.id AND e.at >= bound.at)
        AND NOT EXISTS (SELECT FROM message_end e WHERE e.message_id = m.id AND e.at >= bound.at)
      LIMIT ${maxRemoved}
    ), bodies AS (DELETE FROM message_body_stray WHERE id IN (SELECT id FROM ended)
    ), events AS (DELETE FROM message_event_stray WHERE message_id IN (SELECT id FROM ended)
    ), deliveries AS (DELETE FROM delivery_stray WHERE message_id IN (SELECT id FROM ended)
    ), attempts AS (DELETE FROM attempt_stray WHERE message_id IN (SELECT id FROM ended)
    ), ends AS (DELETE FROM message_end WHERE message_id IN (SELECT id FROM ended)
    ), removed AS (DELETE FROM message_stray WHERE id IN (SELECT id FROM ended) RETURNING id)
    SELECT count(*) AS removed FROM removed`);
  return Number(row?.['removed']);
}

/** What is left of messages that are gone: their ends, and what was recorded of copies that the broker kept for longer. */
async function removeOrphans(sql: Sql, days: number): Promise<void> {
  await answerOf(sql`
    WITH bound AS MATERIALIZED (SELECT now() - make_interval(days => ${days}::integer) AS at, day_floor(current_date - ${days}::integer) AS id),
    ends AS (DELETE FROM message_end e USING bound WHERE e.message_id < bound.id AND e.at < bound.at
      AND NOT EXISTS (SELECT FROM message_stray m WHERE m.id = e.message_id)),
    -- A transaction has the id of its first message.
    transactions AS (DELETE FROM transaction t USING bound WHERE t.id < bound.id
      AND NOT EXISTS (SELECT FROM message_stray m WHERE m.id = t.id)),
    entries AS (DELETE FROM lane_entry e USING bound WHERE e.message_id < bound.id
      AND NOT EXISTS (SELECT FROM message m WHERE m.id = e.message_id)),
    items AS (DELETE FROM stream_item i USING bound WHERE i.message_id < bound.id
      AND NOT EXISTS (SELECT FROM message m WHERE m.id = i.message_id)),
    -- A day after its entries: a cursor that goes leaves nothing behind it that would be delivered again.
    streams AS (DELETE FROM stream s USING bound WHERE s.updated_at < bound.at - interval '1 day'
      AND NOT EXISTS (SELECT FROM agenda a WHERE a.subscription = s.subscription AND a.stream = s.stream)),
    events AS (DELETE FROM message_event_stray e USING bound WHERE e.message_id < bound.id AND e.at < bound.at
      AND NOT EXISTS (SELECT FROM message_stray m WHERE m.id = e.message_id)),
    attempts AS (DELETE FROM attempt_stray a USING bound WHERE a.message_id < bound.id AND a.at < bound.at
      AND NOT EXISTS (SELECT FROM message_stray m WHERE m.id = a.message_id))
    DELETE FROM delivery_stray d USING bound WHERE d.message_id < bound.id AND d.updated_at < bound.at
      AND NOT EXISTS (SELECT FROM message_stray m WHERE m.id = d.message_id)`);
}
