/** Deliveries: outcomes and attempts in bulk. One query, one function. */
import { toUuid } from '../identifier.ts';
import type { DeliveryState } from '../message/lifecycle.ts';
import { answerOf, type Sql } from './database.ts';
import { owedCallbacks } from './end-callbacks.ts';
import { idOf, text, textOrNull, type Row } from './rows.ts';
import type { DeliveryOutcome } from './delivery-outcome.ts';
import type { DeliveryKey, DeliveryStatus } from './store.ts';
import { holdTenure } from './tenure.ts';

/**
 * Records outcomes in one statement: the delivery's state, the attempt, the end of the agenda entry a retry came from,
 * and a new entry for the next try.
 *
 * An end (`DONE`, `DEAD`) is never overwritten, and a second report of the same try changes nothing: a copy that the
 * broker handed out twice neither revives a delivery nor doubles its agenda entry. A worker whose lease is over may
 * still say `DONE`, which is true whoever reports it; its failures are logged as attempts and decide nothing.
 *
 * `LEASED` is a retry that falls due when the lease ends. While a consumer holds a delivery, only it decides, or whoever
 * has the agenda entry of that very lease: a copy that fails meanwhile does not.
 *
 * @returns the deliveries that are open now and were not so before, or not by this try
 */
export async function recordOutcomes(
  sql: Sql,
  outcomes: readonly DeliveryOutcome[],
  by: { readonly set: string; readonly host: string },
): Promise<readonly DeliveryKey[]> {
  const rows = await answerOf(sql`
    WITH outcome AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(outcomes.map(outcomeRow))}::json) AS o(
        message_id uuid, subscription text, state text, attempt integer, status integer, error text,
        ms real, retry_secs double precision, entry bigint, token bigint, callback json)
      WHERE ${holdTenure(sql, by.set, 'go on')}
    ), finished AS (
      DELETE FROM agenda a USING outcome o WHERE a.id = o.entry AND a.lease_token = o.token RETURNING a.id
    ), tracked AS (
      INSERT INTO delivery AS d (message_id, subscription, state, attempts, next_attempt_at, entry)
      SELECT DISTINCT ON (message_id, subscription) message_id, subscription, state, attempt,
        CASE WHEN state IN ('RETRY', 'LEASED') THEN now() + make_interval(secs => retry_secs) END,
        CASE WHEN state IN ('RETRY', 'LEASED') THEN nextval('agenda_id_seq') END
      FROM outcome WHERE entry IS NULL OR state = 'DONE' OR entry IN (SELECT id FROM finished)
      ORDER BY message_id, subscription, state <> 'DONE', state, attempt DESC
      ON CONFLICT (message_id, subscription) DO UPDATE
        SET state = excluded.state, attempts = greatest(d.attempts, excluded.attempts),
          next_attempt_at = excluded.next_attempt_at, entry = excluded.entry, updated_at = now()
        WHERE d.state IN ('RETRY', 'BLOCKED', 'LEASED') AND excluded.state <> 'BLOCKED'
          AND (CASE d.state WHEN 'LEASED' THEN excluded.state = 'DONE' OR d.entry IN (SELECT id FROM finished)
            ELSE excluded.state NOT IN ('RETRY', 'LEASED') END OR excluded.attempts > d.attempts)
      RETURNING message_id, subscription, state, attempts, next_attempt_at, entry
    ), logged AS (
      INSERT INTO attempt (message_id, subscription, attempt, host, status, outcome, duration_ms, error)
      SELECT message_id, subscription, attempt, ${by.host}, status, state, ms, error FROM outcome WHERE ms IS NOT NULL
    ), ${owedCallbacks(sql, 'outcome')}
    INSERT INTO agenda (id, kind, set_id, refs, subscription, due_at, attempts) OVERRIDING SYSTEM VALUE
    SELECT entry, 'redeliver', ${by.set}, ARRAY[message_id], subscription, next_attempt_at, attempts
    FROM tracked WHERE entry IS NOT NULL
    RETURNING refs[1] AS message_id, subscription`);
  return rows.map(keyOf);
}

function keyOf(row: Row): DeliveryKey {
  return { messageId: idOf(row['message_id']), subscription: text(row['subscription']) };
}

export function outcomeRow(outcome: DeliveryOutcome): Readonly<Record<string, unknown>> {
  return {
    message_id: toUuid(outcome.messageId),
    subscription: outcome.subscription,
    state: outcome.state,
    attempt: outcome.attempt,
    status: outcome.status,
    error: storable(outcome.error),
    ms: outcome.durationMs,
    retry_secs: outcome.retryAfterMs / 1000,
    entry: outcome.lease?.entry,
    token: outcome.lease?.token,
    callback: outcome.callback && { ...outcome.callback, answer: storable(outcome.callback.answer) },
  };
}

function storable(given: string | null): string | null {
  return given === null ? null : storableText(given);
}

/** A consumer may answer anything, and Postgres refuses NUL and half of a surrogate pair: with it the whole group. */
export function storableText(given: string): string {
  return given.toWellFormed().replaceAll('\0', '\ufffd');
}

export async function loadDeliveries(
  sql: Sql,
  keys: readonly DeliveryKey[],
): Promise<readonly DeliveryStatus[]> {
  const ids = keys.map((key) => toUuid(key.messageId));
  const rows = await answerOf(sql`
    SELECT message_id, subscription, state, attempts, entry FROM delivery
    WHERE message_id = ANY(${ids}::uuid[]) AND subscription = ANY(${[...new Set(keys.map((key) => key.subscription))]}::text[])
    LIMIT 10000`);
  return rows.map((row) => ({
    ...keyOf(row),
    state: row['state'] as DeliveryState,
    attempts: Number(row['attempts']),
    entry: textOrNull(row['entry']),
  }));
}
