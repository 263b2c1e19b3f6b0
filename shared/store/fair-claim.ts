/**
 * Claims that are fair among subscriptions: each has so much room on the host that claims, and those that are full or
 * paused are left where they are. The subscriptions that have entries at all are found by skipping through the index
 * from one to the next, so the price follows how many of them fail, not how much they have waiting.
 */
import type { AgendaKind, ClaimOptions, DueEntry, Rooms } from '../agenda/agenda.ts';
import { answerOf, type Sql } from './database.ts';
import { entryOf } from './due-work.ts';
import { numberOrNull } from './rows.ts';
import { holdTenure } from './tenure.ts';

type Fragment = ReturnType<Sql>;

/** CTE `waiting`: the subscriptions that have entries of a kind. To be used after WITH RECURSIVE. */
function waitingOf(sql: Sql, set: string, kind: AgendaKind): Fragment {
  return sql`waiting AS (
      (SELECT subscription FROM agenda WHERE set_id = ${set} AND kind = ${kind} AND subscription IS NOT NULL
        ORDER BY subscription LIMIT 1)
      UNION ALL
      SELECT next.subscription FROM waiting w CROSS JOIN LATERAL (
        SELECT subscription FROM agenda WHERE set_id = ${set} AND kind = ${kind} AND subscription > w.subscription
        ORDER BY subscription LIMIT 1) AS next
    )`;
}

export async function claimFairly(
  sql: Sql,
  { set, kind, limit, leaseMs, rooms }: ClaimOptions & { readonly rooms: Rooms },
): Promise<readonly DueEntry[]> {
  const rows = await answerOf(sql`
    WITH RECURSIVE ${waitingOf(sql, set, kind)}, due AS (
      SELECT d.id, d.due_at FROM waiting w CROSS JOIN LATERAL (
        SELECT id, due_at FROM agenda
        WHERE set_id = ${set} AND kind = ${kind} AND subscription = w.subscription AND due_at <= now()
          AND ${holdTenure(sql, set, 'go on')}
        ORDER BY due_at LIMIT coalesce((${JSON.stringify(rooms.except)}::jsonb ->> w.subscription)::integer, ${rooms.each})
        FOR UPDATE SKIP LOCKED
      ) AS d ORDER BY d.due_at LIMIT ${limit}
    )
    UPDATE agenda a SET lease_token = nextval('lease_token'), due_at = now() + make_interval(secs => ${leaseMs / 1000})
    FROM due WHERE a.id = due.id
    RETURNING a.id, a.kind, a.lease_token, a.refs, a.subscription, a.stream, a.attempts,
      extract(epoch FROM now() - due.due_at) * 1000 AS late_ms`);
  return rows.map(entryOf);
}

/** Until the next entry falls due of a subscription that has room. */
export async function nextFairlyInMs(
  sql: Sql,
  {
    set,
    kinds,
    rooms,
  }: { readonly set: string; readonly kinds: readonly AgendaKind[]; readonly rooms: Rooms },
): Promise<number | undefined> {
  const [kind] = kinds;
  if (kind === undefined) return undefined;
  const rows = await answerOf(sql`
    WITH RECURSIVE ${waitingOf(sql, set, kind)}
    SELECT min(next.in_ms) AS in_ms FROM waiting w CROSS JOIN LATERAL (
      SELECT extract(epoch FROM due_at - now()) * 1000 AS in_ms FROM agenda
      WHERE set_id = ${set} AND kind = ${kind} AND subscription = w.subscription
        AND coalesce((${JSON.stringify(rooms.except)}::jsonb ->> w.subscription)::integer, ${rooms.each}) > 0
      ORDER BY due_at LIMIT 1) AS next`);
  return numberOrNull(rows[0]?.['in_ms']) ?? undefined;
}
