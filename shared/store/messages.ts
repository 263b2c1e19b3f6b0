/** Messages: load, find. One query, one function. */
import { toUuid, transactionOf, type MessageId } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { Attempt, DeliveryRecord, MessageRecord } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import {
  idOf,
  instant,
  instantOrNull,
  messageOf,
  numberOrNull,
  optionsIn,
  textOrNull,
  text,
  type Row,
} from './rows.ts';
import { timelineOf } from './timeline.ts';
import type { StoredMessage } from './store.ts';

export async function loadMessages(sql: Sql, ids: readonly MessageId[]): Promise<readonly StoredMessage[]> {
  const rows = await answerOf(sql`
    SELECT m.id, owner, topic, tag, key, state, set_id, reason, distance_km, accepted_at,
      content_type, headers, traceparent, options, expires_at, encode(body, 'base64') AS body
    FROM message m JOIN message_body b ON b.id = m.id
    WHERE m.id = ANY(${ids.map(toUuid)}::uuid[]) AND b.id = ANY(${ids.map(toUuid)}::uuid[])
    LIMIT ${ids.length}`);
  return rows.map((row) => ({ message: messageOf(row), state: row['state'] as MessageState }));
}

/** A message with its deliveries, every attempt and all that happened to it, in one round trip. */
export async function findMessage(sql: Sql, id: MessageId): Promise<MessageRecord | undefined> {
  const uuid = toUuid(id);
  const [messages = [], deliveries = [], attempts = [], events = [], ends = []] = await answerOf(
    sql.transaction(
      [
        sql`SELECT m.*, b.content_type, b.options FROM message m JOIN message_body b ON b.id = m.id WHERE m.id = ${uuid} AND b.id = ${uuid}`,
        sql`SELECT * FROM delivery WHERE message_id = ${uuid} ORDER BY subscription LIMIT 1000`,
        sql`SELECT * FROM attempt WHERE message_id = ${uuid} ORDER BY at, attempt LIMIT 1000`,
        sql`SELECT * FROM message_event WHERE message_id = ${uuid} ORDER BY at LIMIT 1000`,
        sql`SELECT * FROM message_end WHERE message_id = ${uuid} ORDER BY at LIMIT 10`,
      ],
      { readOnly: true },
    ),
  );
  const row = messages[0];
  if (!row) return undefined;
  const { batch, replayOf } = optionsIn(row);
  return {
    id,
    owner: text(row['owner']),
    topic: text(row['topic']),
    tag: textOrNull(row['tag']),
    key: textOrNull(row['key']),
    state: row['state'] as MessageState,
    set: text(row['set_id']),
    route: { reason: text(row['reason']), distanceKm: numberOrNull(row['distance_km']) },
    contentType: text(row['content_type']),
    size: Number(row['size']),
    sendAttempts: Number(row['send_attempts']),
    acceptedAt: instant(row['accepted_at']),
    storedAt: instant(row['stored_at']),
    confirmedAt: instantOrNull(row['confirmed_at']),
    deliverAt: instantOrNull(row['deliver_at']),
    expiresAt: instantOrNull(row['expires_at']),
    lane: textOrNull(row['lane']),
    session: textOrNull(row['session']),
    sequence: numberOrNull(row['sequence']),
    batchSize: batch?.size ?? null,
    transaction: row['transaction_id'] === null ? null : transactionOf(idOf(row['transaction_id'])),
    replayOf: replayOf ?? null,
    error: textOrNull(row['error']),
    timeline: timelineOf({ message: row, events, ends, attempts }),
    deliveries: deliveries.map((delivery) => deliveryOf(delivery, attempts)),
  };
}

function deliveryOf(row: Row, attempts: readonly Row[]): DeliveryRecord {
  return {
    subscription: text(row['subscription']),
    state: row['state'] as DeliveryRecord['state'],
    nextAttemptAt: instantOrNull(row['next_attempt_at']),
    attempts: attempts.filter((attempt) => attempt['subscription'] === row['subscription']).map(attemptOf),
  };
}

function attemptOf(row: Row): Attempt {
  return {
    attempt: Number(row['attempt']),
    at: instant(row['at']),
    host: text(row['host']),
    status: numberOrNull(row['status']),
    outcome: row['outcome'] as Attempt['outcome'],
    durationMs: Number(row['duration_ms']),
    error: textOrNull(row['error']),
  };
}
