/** Deliveries that wait for somebody to pull them. One query, one function. */
import { answerOf, type Sql } from './database.ts';
import { messageOf, numberOrNull } from './rows.ts';
import type { LeasedMessage, PullOptions } from './store.ts';
import { holdTenure } from './tenure.ts';

/**
 * Leases deliveries that are due for another try, the longest waiting first. Two pullers at once never get the same one:
 * each row is locked by the first, passed over by the second, and LEASED after that. The entry that goes on with it falls
 * due when the lease ends; its token is a new one, so that whoever had claimed it for the puller's absence has lost it.
 */
export async function leaseWaiting(
  sql: Sql,
  { set, host, subscription, max, maxBytes, leaseMs }: PullOptions,
): Promise<readonly LeasedMessage[]> {
  const rows = await answerOf(sql`
    WITH waiting AS MATERIALIZED (
      SELECT message_id, entry, updated_at FROM delivery
      WHERE subscription = ${subscription} AND state = 'RETRY' AND next_attempt_at <= now()
        AND ${holdTenure(sql, set, 'go on')}
      ORDER BY updated_at LIMIT ${max} FOR UPDATE SKIP LOCKED
    ), picked AS MATERIALIZED (
      SELECT message_id, kept FROM (
        SELECT w.message_id, a.id AS kept, sum(coalesce(m.size, 0)) OVER first_in - coalesce(m.size, 0) AS bytes_before
        FROM waiting w LEFT JOIN agenda a ON a.id = w.entry
        LEFT JOIN LATERAL (SELECT size FROM message WHERE id = w.message_id LIMIT 1) m ON true
        WINDOW first_in AS (ORDER BY w.updated_at, w.message_id)
      ) each WHERE bytes_before < ${maxBytes}
    ), leased AS (
      UPDATE delivery d SET state = 'LEASED', attempts = d.attempts + 1, updated_at = now(),
        next_attempt_at = now() + make_interval(secs => ${leaseMs / 1000}), entry = coalesce(p.kept, nextval('agenda_id_seq'))
      FROM picked p WHERE d.message_id = p.message_id AND d.subscription = ${subscription} AND d.state = 'RETRY'
      RETURNING d.message_id, d.attempts, d.next_attempt_at, d.entry, p.kept
    ), moved AS (
      UPDATE agenda a SET due_at = l.next_attempt_at, attempts = l.attempts, lease_token = nextval('lease_token')
      FROM leased l WHERE a.id = l.kept
    ), planned AS (
      INSERT INTO agenda (id, kind, set_id, refs, subscription, due_at, attempts) OVERRIDING SYSTEM VALUE
      SELECT entry, 'redeliver', ${set}, ARRAY[message_id], ${subscription}, next_attempt_at, attempts
      FROM leased WHERE kept IS NULL
    ), logged AS (
      INSERT INTO attempt (message_id, subscription, attempt, host, status, outcome, duration_ms, error)
      SELECT message_id, ${subscription}, attempts, ${host}, NULL, 'LEASED', 0, NULL FROM leased
    )
    SELECT l.attempts, m.*, content_type, headers, traceparent, options, encode(b.body, 'base64') AS body
    FROM leased l JOIN message m ON m.id = l.message_id JOIN message_body b ON b.id = l.message_id`);
  return rows.map((row) => ({ message: messageOf(row), attempt: Number(row['attempts']) }));
}

/** Whether a delivery waits, and if none does, how soon one will. */
export async function nextWaitingInMs(sql: Sql, subscription: string): Promise<number | undefined> {
  const rows = await answerOf(sql`
    SELECT extract(epoch FROM min(next_attempt_at) - now()) * 1000 AS in_ms FROM delivery
    WHERE subscription = ${subscription} AND state = 'RETRY'`);
  return numberOrNull(rows[0]?.['in_ms']) ?? undefined;
}
