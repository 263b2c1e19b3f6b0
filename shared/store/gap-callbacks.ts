/** What is still to be told of gaps in sequences. One query, one function; `changeAssembly` writes the rows. */
import type { DueEntry } from '../agenda/agenda.ts';
import { fromUuid } from '../identifier.ts';
import { answerOf, type Sql } from './database.ts';
import type { Gap, GapCallback, GapTold } from './ordered-store.ts';
import { text, type Row } from './rows.ts';

/** The callbacks of claimed entries; one that is not among them has ended. */
export async function loadGapCallbacks(
  sql: Sql,
  entries: readonly DueEntry[],
): Promise<readonly GapCallback[]> {
  const leases = entries.map(({ entry, token }) => ({ entry, token }));
  const rows = await answerOf(sql`
    SELECT g.*, a.id AS entry, a.lease_token AS token
    FROM json_to_recordset(${JSON.stringify(leases)}::json) AS l(entry bigint, token bigint)
    JOIN agenda a ON a.id = l.entry AND a.lease_token = l.token
    JOIN gap_callback g ON g.id = a.refs[1] LIMIT ${entries.length}`);
  return rows.map(callbackOf);
}

function callbackOf(row: Row): GapCallback {
  const { items, ...gap } = row['gap'] as Omit<Gap, 'items'> & {
    readonly items: readonly { readonly sequence: number; readonly message: string | null }[];
  };
  return {
    id: `gap_${text(row['id'])}`,
    lease: { entry: text(row['entry']), token: text(row['token']) },
    topic: text(row['topic']),
    subscription: text(row['subscription']),
    url: text(row['url']),
    attempts: Number(row['attempts']),
    gap: {
      ...gap,
      items: items.map(({ sequence, message }) => ({
        sequence,
        message: message === null ? null : fromUuid(message),
      })),
    },
  };
}

/** Ends the callback with a line on the timeline, or puts it off. Guarded by the lease. */
export async function recordGapTold(
  sql: Sql,
  { lease, said, againAfterMs }: GapTold,
  host: string,
): Promise<void> {
  const againSecs = againAfterMs === undefined ? null : againAfterMs / 1000;
  await answerOf(sql`
    WITH held AS (
      SELECT id, refs FROM agenda WHERE id = ${lease.entry}::bigint AND lease_token = ${lease.token}::bigint FOR UPDATE
    ), again AS (
      UPDATE agenda a SET due_at = now() + make_interval(secs => ${againSecs}::double precision)
      FROM held WHERE a.id = held.id AND ${againSecs !== null}::boolean
    ), counted AS (
      UPDATE gap_callback g SET attempts = attempts + 1 FROM held
      WHERE g.id = held.refs[1] AND ${againSecs !== null}::boolean
    ), ended AS (
      DELETE FROM gap_callback g USING held WHERE g.id = held.refs[1] AND ${againSecs === null}::boolean
      RETURNING g.message_id, g.subscription
    ), logged AS (
      INSERT INTO message_event (message_id, change, by_whom, detail)
      SELECT message_id, 'gap callback', ${host}, subscription || ': ' || ${said} FROM ended
    )
    DELETE FROM agenda a USING held WHERE a.id = held.id AND ${againSecs === null}::boolean`);
}
