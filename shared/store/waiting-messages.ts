/**
 * Scheduled messages before they fall due: list, cancel, move. One query, one function.
 *
 * A change and a release may come at once: whichever locks the row first makes the other find a state, or a time, that
 * it must leave alone. What is left of an old agenda entry falls due and finds nothing to do; most are ended at once,
 * without waiting for whoever holds one.
 */
import { toUuid } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { Due } from '../message/message.ts';
import type { Change, ChangeRequest, MoveRequest } from '../sets/set-link.ts';
import type { FoundMessage, ScheduledQuery } from '../sets/search.ts';
import { answerOf, type Sql } from './database.ts';
import { instantOrNull, numberOrNull } from './rows.ts';
import { foundOf } from './search.ts';
import type { Moved } from './store.ts';
import { holdTenure } from './tenure.ts';

/** A change that waited for another one tells the state from before it: asked once more it knows. */
const maxAsks = 3;

/** `SCHEDULED → CANCELLED`. @returns undefined when the owner has no such message */
export async function cancelScheduled(
  sql: Sql,
  { id, owner, by }: ChangeRequest,
  set: string,
): Promise<Change | undefined> {
  const uuid = toUuid(id);
  for (let ask = 1; ; ask++) {
    const [row] = await answerOf(sql`
      WITH cancelled AS (
        UPDATE message SET state = 'CANCELLED' WHERE id = ${uuid} AND owner = ${owner} AND state = 'SCHEDULED'
          AND ${holdTenure(sql, set, 'go on')}
        RETURNING id, deliver_at
      ), logged AS (
        INSERT INTO message_event (message_id, change, by_whom, detail)
        SELECT id, 'cancelled', ${by}, 'was due at ' || to_char(deliver_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM cancelled
      ), ended AS (
        DELETE FROM agenda WHERE id IN (
          SELECT a.id FROM agenda a JOIN cancelled c ON a.due_at = c.deliver_at AND a.refs = ARRAY[c.id]
          WHERE a.set_id = ${set} AND a.kind = 'release' FOR UPDATE OF a SKIP LOCKED)
      )
      SELECT m.state, m.deliver_at, (SELECT count(*) FROM cancelled) AS cancelled
      FROM message m WHERE m.id = ${uuid} AND m.owner = ${owner}`);
    if (!row) return undefined;
    const state = Number(row['cancelled']) > 0 ? 'CANCELLED' : (row['state'] as MessageState);
    if (state === 'SCHEDULED' && ask < maxAsks) continue;
    const deliverAt = instantOrNull(row['deliver_at']);
    return { outcome: state === 'CANCELLED' ? 'made' : 'too-late', state, deliverAt };
  }
}

/** Another time for a message that is still SCHEDULED. @returns undefined when the owner has no such message */
export async function moveScheduled(
  sql: Sql,
  { id, owner, by, due }: MoveRequest,
  set: string,
): Promise<Moved | undefined> {
  const uuid = toUuid(id);
  const { afterSeconds, atSeconds } = secondsOf(due);
  for (let ask = 1; ; ask++) {
    const [row] = await answerOf(sql`
      WITH held AS MATERIALIZED (
        SELECT id, deliver_at AS was, expires_at,
          coalesce(now() + make_interval(secs => ${afterSeconds}), to_timestamp(${atSeconds}::double precision)) AS next
        FROM message WHERE id = ${uuid} AND owner = ${owner} AND state = 'SCHEDULED' AND ${holdTenure(sql, set, 'go on')} FOR UPDATE
      ), moved AS (
        UPDATE message m SET deliver_at = held.next FROM held
        WHERE m.id = held.id AND m.id = ${uuid} AND m.state = 'SCHEDULED'
          AND (held.expires_at IS NULL OR held.expires_at > held.next)
        RETURNING m.id, m.deliver_at, held.was
      ), logged AS (
        INSERT INTO message_event (message_id, change, by_whom, detail)
        SELECT id, 'moved', ${by}, 'from ' || to_char(was AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
          || ' to ' || to_char(deliver_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM moved
      ), ended AS (
        DELETE FROM agenda WHERE id IN (
          SELECT a.id FROM agenda a JOIN moved ON a.due_at = moved.was AND a.refs = ARRAY[moved.id]
          WHERE a.set_id = ${set} AND a.kind = 'release' FOR UPDATE OF a SKIP LOCKED)
      ), entry AS (
        INSERT INTO agenda (kind, set_id, refs, due_at) SELECT 'release', ${set}, ARRAY[id], deliver_at FROM moved
        RETURNING due_at
      )
      SELECT m.state, coalesce((SELECT deliver_at FROM moved), m.deliver_at) AS deliver_at,
        (SELECT count(*) FROM held) AS held, (SELECT extract(epoch FROM due_at - now()) * 1000 FROM entry) AS due_in_ms
      FROM message m WHERE m.id = ${uuid} AND m.owner = ${owner}`);
    if (!row) return undefined;
    const dueInMs = numberOrNull(row['due_in_ms']);
    const state = row['state'] as MessageState;
    const deliverAt = instantOrNull(row['deliver_at']);
    if (dueInMs !== null) return { change: { outcome: 'made', state: 'SCHEDULED', deliverAt }, dueInMs };
    if (Number(row['held']) > 0) return { change: { outcome: 'expires-first', state, deliverAt } };
    if (state === 'SCHEDULED' && ask < maxAsks) continue;
    return { change: { outcome: 'too-late', state, deliverAt } };
  }
}

function secondsOf(due: Due): { readonly afterSeconds: number | null; readonly atSeconds: number | null } {
  if ('atMs' in due) return { afterSeconds: null, atSeconds: due.atMs / 1000 };
  return { afterSeconds: due.afterMs / 1000, atSeconds: null };
}

/**
 * An owner's scheduled messages in the order they fall due, by the index `message_due`. Messages released long ago stand
 * in that index too: the first page begins where the oldest entry of the agenda is, less an hour for entries that were
 * claimed and given back.
 */
export async function listScheduled(
  sql: Sql,
  { owner, limit, after }: ScheduledQuery,
  set: string,
): Promise<readonly FoundMessage[]> {
  const uuid = after ? toUuid(after.id) : null;
  const rows = await answerOf(sql`
    WITH start AS MATERIALIZED (
      SELECT coalesce('epoch'::timestamptz + ${after?.atMicros ?? null}::bigint * interval '1 microsecond',
        least(now(), (SELECT due_at FROM agenda WHERE set_id = ${set} AND kind = 'release' ORDER BY due_at LIMIT 1)) - interval '1 hour') AS at,
        coalesce(${uuid}::uuid, '00000000-0000-0000-0000-000000000000') AS id
    )
    SELECT m.*, (extract(epoch FROM m.deliver_at) * 1000000)::bigint::text AS at_micros
    FROM message m
    WHERE m.owner = ${owner} AND m.deliver_at IS NOT NULL AND m.state = 'SCHEDULED'
      AND (m.deliver_at, m.id) > ((SELECT at FROM start), (SELECT id FROM start))
    ORDER BY m.deliver_at, m.id LIMIT ${limit}`);
  return rows.map(foundOf);
}
