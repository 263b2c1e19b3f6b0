/** Retention by dropping a day's partitions whole: no row is ever deleted one by one. */
import { answerOf, type Sql } from './database.ts';
import { text } from './rows.ts';
import type { Retention } from './store.ts';

/** Partitions are made this many days ahead, so that a week without any cron loses nothing. */
const daysAhead = 7;

/** Transactions, and ids of days without a partition of their own, go one by one: they are few, or none. */
function strays(sql: Sql, days: number) {
  return [
    sql`DELETE FROM message_stray WHERE id < day_floor(current_date - ${days}::integer)`,
    sql`DELETE FROM message_body_stray WHERE id < day_floor(current_date - ${days}::integer)`,
    sql`DELETE FROM message_event_stray WHERE message_id < day_floor(current_date - ${days}::integer)`,
    sql`DELETE FROM message_end WHERE message_id < day_floor(current_date - ${days}::integer)`,
    sql`DELETE FROM delivery_stray WHERE message_id < day_floor(current_date - ${days}::integer)`,
    sql`DELETE FROM transaction WHERE id < day_floor(current_date - ${days}::integer)`,
    sql`DELETE FROM attempt_stray WHERE message_id < day_floor(current_date - ${days}::integer)`,
  ];
}

export async function rotateDays(
  sql: Sql,
  retention: Retention,
): Promise<{ readonly made: number; readonly dropped: number }> {
  const [made = [], days = []] = await answerOf(
    sql.transaction([
      sql`SELECT count(*) FILTER (WHERE make_day(current_date + n)) AS made FROM generate_series(-1, ${daysAhead}::integer) AS n`,
      sql`SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(message|message_body|message_event|delivery|attempt)_[0-9]{8}$'
        AND right(relname, 8) < to_char(current_date - ${retention.days}::integer, 'YYYYMMDD') LIMIT 1000`,
      ...strays(sql, retention.days),
      sql`DELETE FROM idempotency WHERE created_at < now() - make_interval(hours => ${retention.idempotencyHours}::integer)`,
    ]),
  );
  for (const { relname } of days) await answerOf(sql.query(`DROP TABLE IF EXISTS "${text(relname)}"`));
  return { made: Number(made[0]?.['made']), dropped: days.length };
}
