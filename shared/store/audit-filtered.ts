/**
 * The second half of the audit for subscriptions with a filter, which no database can ask. The first half noted messages
 * that such a subscription has no outcome for; whoever asked the filter settles them here. A crash in between leaves the
 * notes, and the next audit that comes to them asks again.
 */
import { toUuid } from '../identifier.ts';
import type { Sql } from './database.ts';
import { answerOf } from './database.ts';
import type { FilteredVerdict } from './store.ts';

/** @returns how many deliveries were owed and are in the agenda now */
export async function settleFiltered(
  sql: Sql,
  set: string,
  verdicts: readonly FilteredVerdict[],
): Promise<number> {
  const rows = verdicts.map(({ messageId, subscription, note, isOwed }) => ({
    id: toUuid(messageId),
    subscription,
    is_over: note === 'over',
    is_owed: isOwed,
  }));
  const [found] = await answerOf(sql`
    WITH verdict AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(rows)}::json) AS v(id uuid, subscription text, is_over boolean, is_owed boolean)
    ), resent AS (
      INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
      SELECT 'redeliver', ${set}, ARRAY[id], subscription, now() FROM verdict v
      WHERE is_owed AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = v.id AND d.subscription = v.subscription)
        AND NOT EXISTS (SELECT FROM agenda a WHERE a.set_id = ${set} AND a.kind = 'redeliver'
          AND a.subscription = v.subscription AND a.refs = ARRAY[v.id])
      RETURNING refs[1] AS id, subscription
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT id, 'resent', 'audit', subscription FROM resent
    ), closed AS (
      DELETE FROM audit_open o USING verdict v WHERE o.message_id = v.id AND v.is_over
    )
    SELECT count(*)::int AS owed FROM resent`);
  return Number(found?.['owed']);
}
