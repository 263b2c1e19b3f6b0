/** Messages: commit, settle, load, find. One query, one function. */
import { Buffer } from 'node:buffer';
import type { Lease } from '../agenda/agenda.ts';
import { toUuid, transactionOf, type MessageId } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { Attempt, DeliveryRecord, MessageRecord, Offer, Receipt } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import {
  idOf,
  instant,
  instantOrNull,
  messageOf,
  numberOrNull,
  optionsIn,
  optionsOf,
  textOrNull,
  text,
  type Row,
} from './rows.ts';
import { timelineOf } from './timeline.ts';
import type { Commit, CommitOptions, Settlement, StoredMessage } from './store.ts';

/**
 * Group commit: one statement stores any number of offers, their bodies, their idempotency keys and one agenda entry
 * that covers them all. One JSON parameter beats a dozen arrays: it is built natively and parsed once. It only inserts,
 * so its plan need not change with the tables (functions/node/statement-names.ts). Rows go in by their keys, so that
 * groups which repeat each other wait for each other and do not deadlock.
 */
export async function commitOffers(
  sql: Sql,
  offers: readonly Offer[],
  options: CommitOptions,
): Promise<Commit> {
  const rows = await answerOf(sql`
    /* keep the plan */
    WITH offered AS MATERIALIZED (
      SELECT *, CASE WHEN transaction_id IS NOT NULL THEN 'HALF' WHEN deliver_at > now() THEN 'SCHEDULED' ELSE 'READY' END AS state
      FROM json_to_recordset(${JSON.stringify(asRows(offers))}::json) AS o(
        id uuid, unit integer, owner text, topic text, tag text, key text, reason text, km real,
        accepted double precision, expires double precision, due_after double precision, due_at double precision,
        lane text, nth integer, session text, sequence integer, transaction_id uuid, check_url text, check_after double precision,
        type text, headers json, trace text, options json, body text, size integer, key_hash text, fingerprint text),
      coalesce(now() + make_interval(secs => due_after / 1000), to_timestamp(due_at / 1000)) AS deliver_at
    ), claimed AS (
      INSERT INTO idempotency (owner, key_hash, fingerprint, message_id)
      SELECT owner, key_hash, fingerprint, id FROM offered WHERE key_hash IS NOT NULL
      ORDER BY owner, key_hash
      ON CONFLICT (owner, key_hash) DO NOTHING
      RETURNING message_id
    ), refused AS (
      SELECT unit FROM offered WHERE key_hash IS NOT NULL AND id NOT IN (SELECT message_id FROM claimed)
    ), stored AS (
      INSERT INTO message (id, owner, topic, tag, key, state, set_id, reason, distance_km, size, accepted_at,
        expires_at, deliver_at, lane, session, sequence, transaction_id)
      SELECT id, owner, topic, tag, key, state, ${options.set}, reason, km, size, to_timestamp(accepted / 1000),
        to_timestamp(expires / 1000), deliver_at, lane, session, sequence, transaction_id
      FROM offered WHERE unit NOT IN (SELECT unit FROM refused)
      ORDER BY id
      ON CONFLICT (id) DO NOTHING
      RETURNING id, state, deliver_at, lane, transaction_id
    ), bodies AS (
      INSERT INTO message_body (id, content_type, headers, traceparent, options, body)
      SELECT id, type, headers, trace, options, decode(body, 'base64') FROM offered JOIN stored USING (id)
      ON CONFLICT (id) DO NOTHING
    ), waiting AS (
      INSERT INTO agenda (kind, set_id, refs, due_at)
      SELECT 'release', ${options.set}, array_agg(id), deliver_at FROM stored WHERE state = 'SCHEDULED' GROUP BY deliver_at
    ), checking AS (
      INSERT INTO agenda (kind, set_id, refs, due_at)
      SELECT 'check', ${options.set}, array_agg(id ORDER BY nth), now() + make_interval(secs => min(check_after) / 1000)
      FROM stored JOIN offered o USING (id, transaction_id) WHERE stored.state = 'HALF' GROUP BY transaction_id
      RETURNING id, refs, due_at
    ), prepared AS (
      INSERT INTO transaction (id, owner, set_id, refs, check_entry, check_url)
      SELECT o.id, owner, ${options.set}, refs, checking.id, check_url FROM checking JOIN offered o ON o.id = refs[1]
      ON CONFLICT (id) DO NOTHING
    ), entry AS (
      INSERT INTO agenda (kind, set_id, refs, due_at)
      SELECT 'send', ${options.set}, array_agg(id), now() + make_interval(secs => ${options.resendAfterMs / 1000})
      FROM stored WHERE state = 'READY' HAVING count(*) > 0
      RETURNING id, lease_token
    )
    SELECT (SELECT count(*) FROM stored) AS stored, (SELECT array_agg(id) FROM stored) AS ids,
      (SELECT array_agg(id) FROM stored WHERE state = 'SCHEDULED') AS scheduled,
      (SELECT extract(epoch FROM min(deliver_at) - now()) * 1000 FROM stored WHERE state = 'SCHEDULED') AS due_in_ms,
      (SELECT number_lanes(array_agg(id ORDER BY nth), array_agg(owner ORDER BY nth), array_agg(topic ORDER BY nth),
        array_agg(lane ORDER BY nth))
        FROM (SELECT DISTINCT ON (id) id, owner, topic, offered.lane, nth FROM offered JOIN stored USING (id)
          WHERE stored.lane IS NOT NULL AND stored.state = 'READY' ORDER BY id, nth) AS fresh
        HAVING count(*) > 0) AS numbered,
      (SELECT extract(epoch FROM min(due_at) - now()) * 1000 FROM checking) AS check_in_ms,
      (SELECT id FROM entry) AS entry, (SELECT lease_token FROM entry) AS token`);
  const row = rows[0] ?? {};
  const lease =
    row['entry'] === null ? {} : { lease: { entry: text(row['entry']), token: text(row['token']) } };
  const dueInMs = numberOrNull(row['due_in_ms']);
  const checkInMs = numberOrNull(row['check_in_ms']);
  const due = { ...(dueInMs === null ? {} : { dueInMs }), ...(checkInMs === null ? {} : { checkInMs }) };
  const scheduled = new Set((row['scheduled'] as string[] | null)?.map(idOf));
  const fresh = (offer: Offer): Receipt => freshReceipt(offer, scheduled);
  if (Number(row['stored']) === offers.length) return { receipts: offers.map(fresh), ...lease, ...due };
  const stored = new Set((row['ids'] as string[] | null)?.map(idOf));
  const missed = offers.filter((offer) => !stored.has(offer.message.id));
  const known = await findFirsts(sql, missed);
  return {
    // Two offers of one id: the first is the one that was stored.
    receipts: offers.map((offer) =>
      stored.delete(offer.message.id) ? fresh(offer) : duplicate(offer, known),
    ),
    ...lease,
    ...due,
  };
}

function freshReceipt({ message, transaction }: Offer, scheduled: ReadonlySet<MessageId>): Receipt {
  const state = transaction ? 'HALF' : scheduled.has(message.id) ? 'SCHEDULED' : 'READY';
  return { id: message.id, state, duplicate: false };
}

function duplicate(offer: Offer, known: readonly Known[]): Receipt {
  const first = known.find(
    (row) =>
      row.id === offer.message.id ||
      (row.keyHash === offer.idempotency?.keyHash && row.owner === offer.message.owner),
  );
  const mismatch = first?.fingerprint !== undefined && first.fingerprint !== offer.idempotency?.fingerprint;
  return {
    id: first?.id ?? offer.message.id,
    state: first?.state ?? 'READY',
    duplicate: true,
    ...(mismatch ? { mismatch } : {}),
  };
}

interface Known {
  readonly id: MessageId;
  readonly state: MessageState;
  readonly owner: string;
  readonly keyHash?: string;
  readonly fingerprint?: string;
}

/** The messages that offers turned out to repeat, by id or by idempotency key. */
async function findFirsts(sql: Sql, offers: readonly Offer[]): Promise<readonly Known[]> {
  const asked = offers.map(({ message, idempotency }) => ({
    id: toUuid(message.id),
    owner: message.owner,
    key_hash: idempotency?.keyHash ?? null,
  }));
  const rows = await answerOf(sql`
    WITH asked AS (SELECT * FROM json_to_recordset(${JSON.stringify(asked)}::json) AS a(id uuid, owner text, key_hash text))
    SELECT m.id, m.state, m.owner, k.key_hash, k.fingerprint
    FROM asked a JOIN idempotency k USING (owner, key_hash) JOIN message m ON m.id = k.message_id
    UNION ALL
    SELECT m.id, m.state, m.owner, NULL, NULL FROM asked a JOIN message m ON m.id = a.id WHERE a.key_hash IS NULL
    LIMIT 10000`);
  return rows.map((row) => ({
    id: idOf(row['id']),
    state: row['state'] as MessageState,
    owner: text(row['owner']),
    ...(row['key_hash'] === null
      ? {}
      : { keyHash: text(row['key_hash']), fingerprint: text(row['fingerprint']) }),
  }));
}

/** The offers of one unit get one number. */
function asRows(offers: readonly Offer[]): readonly Row[] {
  const units = new Map<string, number>();
  return offers.map((offer, index) => {
    const name = offer.unit ?? index.toString();
    const unit = units.get(name) ?? index;
    units.set(name, unit);
    const isOrdered = offer.message.order?.kind === 'lane' || offer.transaction !== undefined;
    return { ...asRow(offer, unit), nth: isOrdered ? index : undefined };
  });
}

function asRow({ message, idempotency, due, transaction }: Offer, unit: number): Row {
  const { order } = message;
  const sequence = order?.kind === 'sequence' ? order : undefined;
  return {
    id: toUuid(message.id),
    unit,
    owner: message.owner,
    topic: message.topic,
    tag: message.tag,
    key: message.key,
    reason: message.placement.reason,
    km: message.placement.distanceKm,
    accepted: message.acceptedAtMs,
    type: message.contentType,
    headers: message.headers,
    trace: message.traceparent,
    expires: message.expiresAtMs,
    due_after: due && 'afterMs' in due ? due.afterMs : undefined,
    due_at: due && 'atMs' in due ? due.atMs : undefined,
    lane: order?.kind === 'lane' ? order.lane : undefined,
    session: sequence?.session ?? message.batch?.session,
    sequence: sequence?.sequence,
    transaction_id: transaction && toUuid(transaction.id),
    check_url: transaction?.checkUrl,
    check_after: transaction?.firstCheckAfterMs,
    options: optionsOf(message),
    body: Buffer.from(message.body.buffer, message.body.byteOffset, message.body.byteLength).toString(
      'base64',
    ),
    size: message.body.byteLength,
    key_hash: idempotency?.keyHash,
    fingerprint: idempotency?.fingerprint,
  };
}

/**
 * Writes what the broker said of one agenda entry. The states are guarded by `READY` alone, because a confirm is true
 * whoever reports it; only the holder of the lease may replace the entry.
 */
export async function settleEntry(sql: Sql, settlement: Settlement): Promise<void> {
  const { lease, confirmed, unroutable, failed, again } = settlement;
  if (confirmed.length > 0 && unroutable.length + failed.length + again.length === 0)
    return settleConfirmed(sql, lease, confirmed);
  const all = [...confirmed, ...unroutable, ...failed, ...again].map(toUuid);
  const states = [
    ...confirmed.map(() => 'CONFIRMED'),
    ...unroutable.map(() => 'UNROUTABLE'),
    ...failed.map(() => 'FAILED'),
    ...again.map(() => 'READY'),
  ];
  const range = all.toSorted(); // lets the planner leave out all partitions but the one or two that matter
  await answerOf(sql`
    WITH said AS MATERIALIZED (
      SELECT * FROM unnest(${all}::uuid[], ${states}::text[]) AS s(id, state)
    ), entry AS (
      DELETE FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint
      RETURNING kind, set_id, attempts
    ), marked AS (
      UPDATE message m SET state = said.state, send_attempts = send_attempts + 1,
        confirmed_at = CASE said.state WHEN 'CONFIRMED' THEN now() END,
        error = CASE said.state WHEN 'UNROUTABLE' THEN 'No queue is bound for this topic and tag.'
          WHEN 'FAILED' THEN 'The broker never confirmed it.' END
      FROM said WHERE m.id = said.id AND m.state = 'READY'
        AND m.id >= ${range.at(0) ?? null}::uuid AND m.id <= ${range.at(-1) ?? null}::uuid
    )
    INSERT INTO agenda (kind, set_id, refs, due_at, attempts)
    SELECT kind, set_id, ${again.map(toUuid)}::uuid[], now() + make_interval(secs => ${settlement.againAfterMs / 1000}), attempts + 1
    FROM entry WHERE ${again.length} > 0`);
}

/**
 * The usual end of an entry: every message was confirmed. Half the price of the statement above, and nobody waits for
 * the disk: a settle that a crash of Postgres takes back leaves the entry, which falls due and sends once more, as
 * after a crash of the host before its settle.
 */
async function settleConfirmed(sql: Sql, lease: Lease, confirmed: readonly MessageId[]): Promise<void> {
  const ids = confirmed.map(toUuid).toSorted();
  await answerOf(sql`
    WITH entry AS (
      DELETE FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint
    )
    UPDATE message SET state = 'CONFIRMED', send_attempts = send_attempts + 1, confirmed_at = now()
    WHERE id = ANY(${ids}::uuid[]) AND state = 'READY' AND id >= ${ids.at(0)}::uuid AND id <= ${ids.at(-1)}::uuid
      AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'`);
}

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
