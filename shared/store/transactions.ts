/** Transactions: decide, look up, record a check. One query, one function. */
import { fromUuid, toUuid, transactionOf, uuidsAround, type TransactionId } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { DecisionRequest, TransactionRecord, TransactionState } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import { instant, instantOrNull, messageOf, numberOrNull, text, textOrNull, type Row } from './rows.ts';
import type { Decided, FruitlessCheck, ReadyOptions } from './store.ts';
import { holdTenure } from './tenure.ts';

/**
 * Compare-and-set on the transaction's row: whoever comes second waits for the first, re-reads the state of the locked
 * row, and changes nothing. Locks are taken in the order transaction, messages, agenda entry, here and in `recordCheck`.
 * The row is read again by a second statement of the same round trip, which sees what the first one waited for.
 */
export async function decideTransaction(
  sql: Sql,
  { id, owner, decision, by }: DecisionRequest,
  { set, resendAfterMs }: ReadyOptions,
): Promise<Decided | undefined> {
  const uuid = toUuid(id);
  const [from, to] = uuidsAround(id);
  const change = decision === 'COMMITTED' ? 'committed' : 'rolled back';
  const [rows = [], found = []] = await answerOf(
    sql.transaction([
      sql`
        WITH decided AS (
          UPDATE transaction SET state = ${decision}, decided_at = now(), decided_by = ${by}
          WHERE id = ${uuid} AND owner = ${owner} AND state IN ('PREPARED', 'CHECK_EXHAUSTED') AND ${holdTenure(sql, set, 'go on')}
          RETURNING refs, check_entry
        ), turned AS (
          UPDATE message m SET state = CASE WHEN ${decision} = 'ROLLED_BACK' THEN 'ROLLED_BACK' WHEN deliver_at > now() THEN 'SCHEDULED' ELSE 'READY' END
          FROM decided WHERE m.id = ANY(decided.refs) AND m.id BETWEEN ${from}::uuid AND ${to}::uuid AND m.state IN ('HALF', 'CHECK_EXHAUSTED')
          RETURNING m.*
        ), logged AS (
          INSERT INTO message_event (message_id, change, by_whom) SELECT id, ${change}, ${by} FROM turned
        ), unchecked AS (
          DELETE FROM agenda a USING decided WHERE a.id = decided.check_entry AND a.kind = 'check'
        ), waiting AS (
          INSERT INTO agenda (kind, set_id, refs, due_at)
          SELECT 'release', ${set}, array_agg(id), deliver_at FROM turned WHERE state = 'SCHEDULED' GROUP BY deliver_at
        ), entry AS (
          INSERT INTO agenda (kind, set_id, refs, due_at)
          SELECT 'send', ${set}, array_agg(id), now() + make_interval(secs => ${resendAfterMs / 1000})
          FROM turned WHERE state = 'READY' HAVING count(*) > 0
          RETURNING id, lease_token
        ), numbered AS (
          SELECT number_lanes(array_agg(id), array_agg(owner), array_agg(topic), array_agg(lane))
          FROM (SELECT turned.* FROM turned, decided WHERE lane IS NOT NULL AND turned.state = 'READY' ORDER BY array_position(refs, id)) AS r
          HAVING count(*) > 0
        )
        SELECT turned.*, (SELECT * FROM numbered) AS numbered, b.content_type, b.headers, b.traceparent, b.options, encode(b.body, 'base64') AS body,
          entry.id AS entry, entry.lease_token AS token, extract(epoch FROM deliver_at - now()) * 1000 AS due_in_ms
        FROM turned JOIN message_body b ON b.id = turned.id AND b.id BETWEEN ${from}::uuid AND ${to}::uuid
        LEFT JOIN entry ON true
        ORDER BY turned.id LIMIT 1000`,
      recordQuery(sql, id),
    ]),
  );
  const [record] = found.map(recordOf);
  if (record?.owner !== owner) return undefined;
  const ready = rows.filter((row) => row['state'] === 'READY');
  const dues = rows
    .filter((row) => row['state'] === 'SCHEDULED')
    .map((row) => numberOrNull(row['due_in_ms']) ?? 0);
  const [first] = ready;
  return {
    transaction: record,
    messages: ready.map(messageOf),
    ...(first ? { lease: { entry: text(first['entry']), token: text(first['token']) } } : {}),
    ...(dues.length === 0 ? {} : { dueInMs: Math.min(...dues) }),
  };
}

export async function findTransaction(sql: Sql, id: TransactionId): Promise<TransactionRecord | undefined> {
  const rows = await answerOf(recordQuery(sql, id));
  return rows.map(recordOf)[0];
}

function recordQuery(sql: Sql, id: TransactionId) {
  const [from, to] = uuidsAround(id);
  return sql`
    SELECT t.*, a.due_at, (
      SELECT json_agg(json_build_object('id', m.id, 'topic', m.topic, 'state', m.state) ORDER BY array_position(t.refs, m.id))
      FROM message m WHERE m.id = ANY(t.refs) AND m.id BETWEEN ${from}::uuid AND ${to}::uuid) AS messages
    FROM transaction t LEFT JOIN agenda a ON a.id = t.check_entry AND a.kind = 'check' WHERE t.id = ${toUuid(id)}`;
}

interface MessageRow {
  readonly id: string;
  readonly topic: string;
  readonly state: MessageState;
}

function recordOf(row: Row): TransactionRecord {
  const messages = (row['messages'] ?? []) as readonly MessageRow[];
  const state = row['state'] as TransactionState;
  return {
    id: transactionOf(fromUuid(text(row['id']))),
    owner: text(row['owner']),
    set: text(row['set_id']),
    state,
    messages: messages.map((message) => ({ ...message, id: fromUuid(message.id) })),
    checkUrl: textOrNull(row['check_url']),
    checks: Number(row['checks']),
    lastCheckAt: instantOrNull(row['last_check_at']),
    lastCheck: textOrNull(row['last_check']),
    nextCheckAt: state === 'PREPARED' && row['check_url'] !== null ? instantOrNull(row['due_at']) : null,
    preparedAt: instant(row['prepared_at']),
    decidedAt: instantOrNull(row['decided_at']),
    decidedBy: textOrNull(row['decided_by']),
  };
}

/** Whoever holds an old lease, or comes after the decision, changes nothing. */
export async function recordCheck(
  sql: Sql,
  { lease, id, said, againAfterMs, host }: FruitlessCheck,
): Promise<void> {
  const [from, to] = uuidsAround(id);
  const state = againAfterMs === undefined ? 'CHECK_EXHAUSTED' : 'PREPARED';
  await answerOf(sql`
    WITH asked AS (
      UPDATE transaction SET checks = checks + 1, last_check_at = now(), last_check = ${said}, state = ${state}
      WHERE id = ${toUuid(id)} AND state = 'PREPARED'
        AND EXISTS (SELECT FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint)
      RETURNING refs
    ), parked AS (
      UPDATE message m SET state = 'CHECK_EXHAUSTED' FROM asked
      WHERE ${state} = 'CHECK_EXHAUSTED' AND m.id = ANY(asked.refs) AND m.id BETWEEN ${from}::uuid AND ${to}::uuid AND m.state = 'HALF'
      RETURNING m.id
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail) SELECT id, 'check exhausted', ${host}, ${said} FROM parked
    ), ended AS (
      DELETE FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint
        AND (${state} = 'CHECK_EXHAUSTED' OR NOT EXISTS (SELECT FROM asked))
    )
    UPDATE agenda SET due_at = now() + make_interval(secs => ${(againAfterMs ?? 0) / 1000}), attempts = attempts + 1
    WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint
      AND ${state} = 'PREPARED' AND EXISTS (SELECT FROM asked)`);
}
