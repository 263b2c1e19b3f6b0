/** The agenda in Postgres: claims with SKIP LOCKED and lease tokens. One query, one function. */
import type { AgendaKind, ClaimOptions, DueEntry, Lease } from '../agenda/agenda.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, numberOrNull, textOrNull, text, type Row } from './rows.ts';
import { holdTenure } from './tenure.ts';

export async function claimDue(
  sql: Sql,
  { set, kind, limit, leaseMs }: ClaimOptions,
): Promise<readonly DueEntry[]> {
  const rows = await answerOf(sql`
    WITH due AS (
      SELECT id, due_at FROM agenda WHERE set_id = ${set} AND kind = ${kind} AND due_at <= now()
        AND ${holdTenure(sql, set, 'go on')}
      ORDER BY due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    UPDATE agenda a SET lease_token = nextval('lease_token'), due_at = now() + make_interval(secs => ${leaseMs / 1000})
    FROM due WHERE a.id = due.id
    RETURNING a.id, a.kind, a.lease_token, a.refs, a.subscription, a.stream, a.attempts,
      extract(epoch FROM now() - due.due_at) * 1000 AS late_ms`);
  return rows.map(entryOf);
}

export function entryOf(row: Row): DueEntry {
  return {
    entry: text(row['id']),
    token: text(row['lease_token']),
    kind: row['kind'] as AgendaKind,
    refs: (row['refs'] as string[]).map(idOf),
    subscription: textOrNull(row['subscription']),
    stream: textOrNull(row['stream']),
    attempts: Number(row['attempts']),
    lateMs: Number(row['late_ms']),
  };
}

export async function nextDueInMs(
  sql: Sql,
  set: string,
  kinds: readonly AgendaKind[],
): Promise<number | undefined> {
  const rows = await answerOf(sql`
    SELECT min(next.in_ms) AS in_ms FROM unnest(${kinds}::text[]) AS k(kind)
    CROSS JOIN LATERAL (
      SELECT extract(epoch FROM due_at - now()) * 1000 AS in_ms FROM agenda
      WHERE set_id = ${set} AND kind = k.kind ORDER BY due_at LIMIT 1) AS next`);
  return numberOrNull(rows[0]?.['in_ms']) ?? undefined;
}

export async function finishEntries(sql: Sql, leases: readonly Lease[]): Promise<void> {
  await answerOf(sql`
    DELETE FROM agenda a USING unnest(${leases.map((lease) => lease.entry)}::bigint[], ${leases.map((lease) => lease.token)}::bigint[]) AS l(entry, token)
    WHERE a.id = l.entry AND a.lease_token = l.token`);
}

export async function releaseEntries(sql: Sql, leases: readonly Lease[], afterMs: number): Promise<void> {
  await answerOf(sql`
    UPDATE agenda a SET due_at = now() + make_interval(secs => ${afterMs / 1000})
    FROM unnest(${leases.map((lease) => lease.entry)}::bigint[], ${leases.map((lease) => lease.token)}::bigint[]) AS l(entry, token)
    WHERE a.id = l.entry AND a.lease_token = l.token`);
}
