/** What the broker said of sent messages, into the store. */
import type { Lease } from '../agenda/agenda.ts';
import { toUuid, type MessageId } from '../identifier.ts';
import { answerOf, type Sql } from './database.ts';
import type { Settlement } from './store.ts';
import { holdTenure } from './tenure.ts';

/**
 * Writes what the broker said of one agenda entry. The states are guarded by `READY` alone, because a confirm is true
 * whoever reports it; only the holder of the lease may replace the entry.
 */
export async function settleEntry(sql: Sql, settlement: Settlement, set?: string): Promise<void> {
  const { lease, confirmed, unroutable, failed, again } = settlement;
  if (confirmed.length > 0 && unroutable.length + failed.length + again.length === 0)
    return settleConfirmed(sql, lease, confirmed, set);
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
      WHERE ${holdTenure(sql, set, 'go on')}
    ), entry AS (
      DELETE FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint
        AND (SELECT count(*) FROM said) > 0
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
async function settleConfirmed(
  sql: Sql,
  lease: Lease,
  confirmed: readonly MessageId[],
  set: string | undefined,
): Promise<void> {
  const ids = confirmed.map(toUuid).toSorted();
  await answerOf(sql`
    WITH entry AS (
      DELETE FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint
        AND ${holdTenure(sql, set, 'go on')}
    )
    UPDATE message SET state = 'CONFIRMED', send_attempts = send_attempts + 1, confirmed_at = now()
    WHERE id = ANY(${ids}::uuid[]) AND state = 'READY' AND id >= ${ids.at(0)}::uuid AND id <= ${ids.at(-1)}::uuid
      AND ${holdTenure(sql, set, 'go on')} AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'`);
}
