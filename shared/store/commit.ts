/** Group commit of offers. */
import { Buffer } from 'node:buffer';
import { toUuid, type MessageId } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { Offer, Receipt } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, numberOrNull, optionsOf, text, type Row } from './rows.ts';
import { holdTenure, type TenuredWork } from './tenure.ts';
import type { Commit, CommitOptions } from './store.ts';

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
  const given = asRows(offers);
  const rows = await answerOf(sql`
    /* keep the plan */
    WITH offered AS MATERIALIZED (
      SELECT *, CASE WHEN transaction_id IS NOT NULL THEN 'HALF' WHEN deliver_at > now() THEN 'SCHEDULED' ELSE 'READY' END AS state
      FROM json_to_recordset(${JSON.stringify(given)}::json) AS o(
        id uuid, unit integer, owner text, topic text, tag text, key text, reason text, km real,
        accepted double precision, expires double precision, due_after double precision, due_at double precision,
        lane text, nth integer, session text, sequence integer, transaction_id uuid, check_url text, check_after double precision,
        type text, headers json, trace text, options json, body text, size integer, key_hash text, fingerprint text,
        mirror text),
      coalesce(now() + make_interval(secs => due_after / 1000), to_timestamp(due_at / 1000)) AS deliver_at
      WHERE ${admitted(sql, options.set, { offers, given })}
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
        expires_at, deliver_at, lane, session, sequence, transaction_id, mirror)
      SELECT id, owner, topic, tag, key, state, ${options.set}, reason, km, size, to_timestamp(accepted / 1000),
        to_timestamp(expires / 1000), deliver_at, lane, session, sequence, transaction_id, mirror
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
  const isHomed = offers.some(({ home }) => home !== undefined);
  return {
    // Two offers of one id: the first is the one that was stored.
    receipts: offers.map((offer) =>
      stored.delete(offer.message.id) ? fresh(offer) : duplicate(offer, known, isHomed),
    ),
    ...lease,
    ...due,
  };
}

interface Given {
  readonly offers: readonly Offer[];
  readonly given: readonly Row[];
}

/** Holds the SET's tenure; where there are lanes, leaves out the units of those that are not at home here. */
function admitted(sql: Sql, set: string, { offers, given }: Given): ReturnType<Sql> {
  const work = workOf(offers);
  const homes = offers.flatMap(({ home }, index) =>
    home ? [{ unit: given[index]?.['unit'], home: `${home.bucket}:${home.epoch}` }] : [],
  );
  if (homes.length === 0) return holdTenure(sql, set, work);
  const wanted = [...new Set(homes.map(({ home }) => home))];
  return sql`unit NOT IN (
    SELECT h.unit FROM json_to_recordset(${JSON.stringify(homes)}::json) AS h(unit integer, home text)
    WHERE h.home = ANY((SELECT admit(${set}, ${work}, ${wanted}::text[]))::text[]))`;
}

/** What a schedule of the SET itself publishes goes on while the SET drains. */
function workOf(offers: readonly Offer[]): TenuredWork {
  return offers.some(({ message }) => message.placement.reason !== 'schedule') ? 'take' : 'go on';
}

function freshReceipt({ message, transaction }: Offer, scheduled: ReadonlySet<MessageId>): Receipt {
  const state = transaction ? 'HALF' : scheduled.has(message.id) ? 'SCHEDULED' : 'READY';
  return { id: message.id, state, duplicate: false };
}

/** @param isHomed the group has lanes: what was neither stored nor known was not at home here */
function duplicate(offer: Offer, known: readonly Known[], isHomed: boolean): Receipt {
  const { message, idempotency } = offer;
  const isSame = (row: Known): boolean =>
    idempotency === undefined
      ? row.id === message.id
      : row.keyHash === idempotency.keyHash && row.owner === message.owner;
  const first = known.find(isSame) ?? known.find((row) => row.id === message.id);
  if (!first && isHomed) return refused(message.id);
  const mismatch = first?.fingerprint !== undefined && first.fingerprint !== offer.idempotency?.fingerprint;
  return {
    id: first?.id ?? offer.message.id,
    state: first?.state ?? 'READY',
    duplicate: true,
    ...(mismatch ? { mismatch } : {}),
  };
}

function refused(id: MessageId): Receipt {
  const detail = 'Another SET has this lane now, or will have it soon. Retry the same request.';
  const refusal = { kind: 'misrouted', detail, retryAfterSeconds: 1 } as const;
  return { id, state: 'READY', duplicate: false, refusal };
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

function asRow({ message, idempotency, due, transaction, mirror }: Offer, unit: number): Row {
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
    mirror,
  };
}
