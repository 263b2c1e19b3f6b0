/**
 * Lanes of which something is still to be delivered from this database. One query, one function.
 *
 * A lane is done when the cursor of every subscription that hears it has passed its last message, or that message has
 * its end. What is scheduled or undecided will be a message of its lane one day, and so counts too.
 */
import { answerOf, type Sql } from './database.ts';
import { text } from './rows.ts';

/** A subscription whose lanes are delivered in order. */
export interface LaneListener {
  readonly subscription: string;
  readonly owner: string;
  readonly topic: string;
  /** See `tagPattern`. */
  readonly pattern: string;
  /** Since when it hears this, in Unix milliseconds. */
  readonly sinceMs: number;
}

export interface LaneLeft {
  readonly topic: string;
  readonly lane: string;
  /** What it waits for: a subscription, or what is not sent yet. */
  readonly waitsFor: string;
}

export interface LanesAsked {
  readonly set: string;
  readonly listeners: readonly LaneListener[];
  /** Only these lanes; without it, all. */
  readonly among?: readonly Pick<LaneLeft, 'topic' | 'lane'>[] | undefined;
}

export async function findLanesLeft(
  sql: Sql,
  { set, listeners, among }: LanesAsked,
): Promise<readonly LaneLeft[]> {
  const asked = listeners.map(({ sinceMs, ...listener }) => ({ ...listener, since: sinceMs / 1000 }));
  const rows = await answerOf(sql`
    WITH listener AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(asked)}::json)
        AS l(subscription text, owner text, topic text, pattern text, since double precision)
    ), among AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(among ?? [])}::json) AS a(topic text, lane text)
    ), entry AS (
      SELECT l.subscription, l.pattern, l.since, le.* FROM listener l
      JOIN lane_entry le ON le.owner = l.owner AND le.topic = l.topic
      WHERE ${among === undefined}::boolean OR (le.topic, le.lane) IN (SELECT topic, lane FROM among)
    ), unsent AS (
      SELECT unnest(refs) AS id FROM agenda WHERE set_id = ${set} AND kind = 'release'
      UNION ALL
      SELECT unnest(refs) FROM transaction WHERE set_id = ${set} AND state IN ('PREPARED', 'CHECK_EXHAUSTED')
    )
    SELECT topic, lane, min(waits_for) AS waits_for FROM (
      SELECT e.topic, e.lane, 'subscription ' || e.subscription AS waits_for
      FROM entry e JOIN message m ON m.id = e.message_id
      LEFT JOIN stream s ON s.subscription = e.subscription AND s.stream = 'lane/' || e.topic || '/' || e.lane
      WHERE e.position > coalesce(s.position, 0) AND m.state IN ('READY', 'CONFIRMED')
        AND m.stored_at >= to_timestamp(e.since)
        AND (CASE WHEN coalesce(m.tag, '') = '' THEN '' ELSE '.' || m.tag END) ~ e.pattern
        AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = e.message_id AND d.subscription = e.subscription
          AND d.state IN ('DONE', 'DEAD', 'SKIPPED'))
      UNION ALL
      SELECT m.topic, m.lane, 'a message that is ' || lower(m.state) FROM unsent u JOIN message m ON m.id = u.id
      WHERE m.lane IS NOT NULL AND m.state IN ('SCHEDULED', 'HALF', 'CHECK_EXHAUSTED')
    ) AS found GROUP BY topic, lane LIMIT 1000000`);
  return rows.map((row) => ({
    topic: text(row['topic']),
    lane: text(row['lane']),
    waitsFor: text(row['waits_for']),
  }));
}
