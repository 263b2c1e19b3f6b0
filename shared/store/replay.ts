/** One message once more, under a new id, inside its database: the body never leaves it. */
import { toUuid, type MessageId } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import { Problem } from '../problem.ts';
import type { ReplayRequest } from '../sets/dead-letters.ts';
import type { Receipt } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, text, type Row } from './rows.ts';
import { holdTenure } from './tenure.ts';

/** What a copy keeps of the options of its original `b`: not its place in an order, which was taken once. */
export function replayOptions(sql: Sql): ReturnType<Sql> {
  return sql`(coalesce(b.options::jsonb, '{}') - 'order' || jsonb_build_object('replayOf', b.id))::json`;
}

/** Content that was meant to be delivered: not what was rolled back, cancelled, or is still on its way. */
const sentStates: readonly MessageState[] = ['CONFIRMED', 'UNROUTABLE', 'FAILED'];

/**
 * Stores the copy and what sends it: one `send` entry, or for named subscriptions a `redeliver` entry each, and then the
 * copy is CONFIRMED without a time of confirming, because the broker never sees it.
 * @throws Problem `conflict` when the original was never sent
 */
export async function replayMessage(
  sql: Sql,
  set: string,
  { original, id, owner, subscriptions, idempotency }: ReplayRequest,
): Promise<Receipt | undefined> {
  const state = subscriptions ? 'CONFIRMED' : 'READY';
  const [stored = [], rows = []] = await answerOf(
    sql.transaction([
      sql`
        WITH original AS (
          SELECT m.*, b.content_type, b.headers, b.traceparent, b.body, ${replayOptions(sql)} AS kept
          FROM message m JOIN message_body b ON b.id = m.id
          WHERE m.id = ${toUuid(original)} AND b.id = ${toUuid(original)} AND m.owner = ${owner}
            AND m.state = ANY(${sentStates}::text[]) AND ${holdTenure(sql, set, 'go on')}
        ), claimed AS (
          INSERT INTO idempotency (owner, key_hash, fingerprint, message_id)
          SELECT owner, ${idempotency?.keyHash ?? null}, ${idempotency?.fingerprint ?? null}, ${toUuid(id)}::uuid FROM original
          WHERE ${idempotency !== undefined}::boolean
          ON CONFLICT (owner, key_hash) DO NOTHING RETURNING message_id
        ), stored AS (
          INSERT INTO message (id, owner, topic, tag, key, state, set_id, reason, size, accepted_at)
          SELECT ${toUuid(id)}::uuid, owner, topic, tag, key, ${state}, ${set}, 'replay', size, now() FROM original
          WHERE ${idempotency === undefined}::boolean OR EXISTS (SELECT FROM claimed)
          ON CONFLICT (id) DO NOTHING RETURNING id
        ), bodies AS (
          INSERT INTO message_body (id, content_type, headers, traceparent, options, body)
          SELECT stored.id, content_type, headers, traceparent, kept, body FROM original, stored
        ), sent AS (
          INSERT INTO agenda (kind, set_id, refs, due_at)
          SELECT 'send', ${set}, ARRAY[id], now() FROM stored WHERE ${subscriptions === undefined}::boolean
        ), delivered AS (
          INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
          SELECT 'redeliver', ${set}, ARRAY[id], name, now() FROM stored, unnest(${subscriptions ?? []}::text[]) AS name
        )
        INSERT INTO message_event (message_id, change, by_whom, detail)
        SELECT ${toUuid(original)}::uuid, 'replayed', ${owner}, ${id} FROM stored RETURNING message_id`,
      sql`
        SELECT (SELECT state FROM message WHERE id = ${toUuid(original)} AND owner = ${owner}) AS original,
          k.message_id, k.fingerprint, m.state
        FROM (SELECT 1) AS one
        LEFT JOIN idempotency k ON k.owner = ${owner} AND k.key_hash = ${idempotency?.keyHash ?? null}
        LEFT JOIN message m ON m.id = coalesce(k.message_id, ${toUuid(id)}::uuid) LIMIT 1`,
    ]),
  );
  const receipt = receiptOf(rows[0] ?? {}, id, idempotency?.fingerprint);
  return receipt && { ...receipt, duplicate: stored.length === 0 };
}

function receiptOf(row: Row, id: MessageId, fingerprint: string | undefined): Receipt | undefined {
  if (row['original'] === null) return undefined;
  if (row['state'] === null)
    throw new Problem(
      'conflict',
      `Only what was sent can be replayed; this message is ${text(row['original'])}.`,
    );
  const kept = row['message_id'] === null ? id : idOf(row['message_id']);
  return {
    id: kept,
    state: row['state'] as MessageState,
    duplicate: true,
    ...(fingerprint !== undefined && row['fingerprint'] !== fingerprint ? { mismatch: true } : {}),
  };
}
