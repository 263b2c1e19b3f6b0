/** Copies of other SETs' messages in Postgres, and their home's side of it. One query, one function. */
import { Buffer } from 'node:buffer';
import { toUuid, type MessageId } from '../identifier.ts';
import type { Offer } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, numberOrNull, text } from './rows.ts';
import type { KeptCopy, Shelf } from './shelf.ts';
import type { EndedCopy } from './store.ts';

export function openShelf(sql: Sql): Shelf {
  return {
    keep: (home, offers) => keepCopies(sql, home, offers),
    oldest: (home, limit) => oldestCopies(sql, home, limit),
    drop: (home, ids) => dropCopies(sql, home, ids),
    amounts: () => countCopies(sql),
  };
}

async function keepCopies(sql: Sql, home: string, offers: readonly Offer[]): Promise<void> {
  const rows = offers.map((offer, n) => ({
    n,
    id: toUuid(offer.message.id),
    after: offer.due && 'afterMs' in offer.due ? offer.due.afterMs / 1000 : undefined,
    at: offer.due && 'atMs' in offer.due ? offer.due.atMs / 1000 : undefined,
    offer: { ...offer, message: { ...offer.message, body: base64Of(offer.message.body) } },
  }));
  await answerOf(sql`
    INSERT INTO mirror_copy (id, home, offer, due_at)
    SELECT id, ${home}, offer, coalesce(now() + make_interval(secs => after), to_timestamp(at))
    FROM json_to_recordset(${JSON.stringify(rows)}::json)
      AS o(n integer, id uuid, after double precision, at double precision, offer json)
    ORDER BY n ON CONFLICT (id, home) DO NOTHING`);
}

function base64Of({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

type WrittenOffer = Omit<Offer, 'message'> & {
  readonly message: Omit<Offer['message'], 'body'> & { readonly body: string };
};

async function oldestCopies(sql: Sql, home: string, limit: number): Promise<readonly KeptCopy[]> {
  const rows = await answerOf(sql`
    SELECT offer, extract(epoch FROM due_at) * 1000 AS due_ms, extract(epoch FROM kept_at) * 1000 AS kept_ms
    FROM mirror_copy WHERE home = ${home} ORDER BY nth LIMIT ${limit}`);
  return rows.map((row) => {
    const { due: _due, message, ...rest } = row['offer'] as WrittenOffer;
    const dueMs = numberOrNull(row['due_ms']);
    const due = dueMs === null ? {} : { due: { atMs: dueMs } };
    const body = new Uint8Array(Buffer.from(message.body, 'base64'));
    return { offer: { ...rest, ...due, message: { ...message, body } }, keptAtMs: Number(row['kept_ms']) };
  });
}

async function dropCopies(sql: Sql, home: string, ids: readonly MessageId[]): Promise<void> {
  await answerOf(sql`DELETE FROM mirror_copy WHERE home = ${home} AND id = ANY(${ids.map(toUuid)}::uuid[])`);
}

async function countCopies(sql: Sql): Promise<ReadonlyMap<string, number>> {
  const rows = await answerOf(
    sql`SELECT home, count(*) AS copies FROM mirror_copy GROUP BY home LIMIT 10000`,
  );
  return new Map(rows.map((row) => [text(row['home']), Number(row['copies'])]));
}

/**
 * Messages whose copies can go: at an end themselves, and known to be delivered. Known from the audit, which has looked
 * at them and left nothing open; of an order, from the cursors of all its streams, and of a sequence not before its last
 * message, since its items make sense together only.
 */
export async function findEndedCopies(sql: Sql, set: string, limit: number): Promise<readonly EndedCopy[]> {
  const rows = await answerOf(sql`
    WITH looked AS (SELECT coalesce((SELECT stored_at FROM audit_mark WHERE set_id = ${set}), '-infinity') AS until),
    awake AS MATERIALIZED (SELECT stream FROM agenda WHERE set_id = ${set} AND stream IS NOT NULL)
    SELECT m.id, m.mirror FROM message m
    CROSS JOIN LATERAL (SELECT CASE WHEN m.lane IS NOT NULL THEN 'lane/' || m.topic || '/' || m.lane
      WHEN m.sequence IS NOT NULL THEN 'session/' || m.topic || '/' || m.session END AS name) AS stream
    WHERE m.mirror IS NOT NULL AND NOT is_open(m.state)
      AND (m.state <> 'CONFIRMED' OR (
        m.stored_at <= (SELECT until FROM looked)
        AND NOT EXISTS (SELECT FROM audit_open o WHERE o.message_id = m.id)
        AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = m.id AND is_open(d.state))
        AND (stream.name IS NULL OR (
          stream.name NOT IN (SELECT stream FROM awake)
          AND EXISTS (SELECT FROM stream s WHERE s.stream = stream.name)
          AND NOT EXISTS (SELECT FROM stream s WHERE s.stream = stream.name AND CASE WHEN m.lane IS NULL
            THEN s.state NOT IN ('DONE', 'ABORTED')
            ELSE s.position < (SELECT max(e.position) FROM lane_entry e WHERE e.message_id = m.id) END)))))
    ORDER BY m.stored_at LIMIT ${limit}`);
  return rows.map((row) => ({ id: idOf(row['id']), mirror: text(row['mirror']) }));
}

/** Nobody keeps a copy of these any more. */
export async function forgetCopies(sql: Sql, ids: readonly MessageId[]): Promise<void> {
  const uuids = ids.map(toUuid).toSorted();
  await answerOf(sql`
    UPDATE message SET mirror = NULL
    WHERE id = ANY(${uuids}::uuid[]) AND id >= ${uuids.at(0) ?? null}::uuid AND id <= ${uuids.at(-1) ?? null}::uuid`);
}
