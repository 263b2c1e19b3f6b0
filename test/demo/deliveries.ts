/** What the SETs' databases say of one run: how far its deliveries are, and how long they took. */
import pg from 'pg';

export interface DeliveryCounts {
  /** Messages in the SETs; one that failed over may lie in two. */
  readonly stored: number;
  /** Webhook calls that were no retries. */
  readonly firstCalls: number;
  /** Deliveries (message × subscription) that are done. */
  readonly done: number;
}

export interface Journey {
  /** From the accepting edge's clock to the broker's confirm; null when it is not confirmed. */
  readonly confirmedMs: number | null;
  /** Until the last subscription was done; null when one is not. */
  readonly deliveredMs: number | null;
}

/** A run is known by its tag. Ids begin with their time, those of keyed messages with their day's; older days are left out. */
export interface RunMark {
  readonly tag: string;
  readonly firstId: string;
  readonly subscriptions: number;
}

export interface SetDatabases {
  count(): Promise<DeliveryCounts>;
  journeys(): Promise<readonly Journey[]>;
  close(): Promise<void>;
}

/** @example runMark('demo-1', Date.now(), 2) */
export function runMark(tag: string, nowMs: number, subscriptions: number): RunMark {
  const dayBeganMs = nowMs - (nowMs % 86_400_000);
  const hex = dayBeganMs.toString(16).padStart(12, '0').padEnd(32, '0');
  return { tag, firstId: hex, subscriptions };
}

export function openSetDatabases(urls: readonly string[], mark: RunMark): SetDatabases {
  const pools = urls.map((connectionString) => new pg.Pool({ connectionString, max: 1 }));
  return {
    async count() {
      const rows = await queryAll<CountRow>(pools, countQuery, [mark.tag, mark.firstId]);
      return {
        stored: rows.reduce((sum, row) => sum + Number(row.stored), 0),
        firstCalls: rows.reduce((sum, row) => sum + Number(row.first_calls), 0),
        done: rows.reduce((sum, row) => sum + Number(row.done), 0),
      };
    },
    async journeys() {
      const params = [mark.tag, mark.firstId, mark.subscriptions];
      // The earliest first: of a message that lies in two SETs, the first delivery counts.
      const rows = (await queryAll<JourneyRow>(pools, journeyQuery, params)).toSorted(
        (one, other) => (one.delivered_ms ?? Infinity) - (other.delivered_ms ?? Infinity),
      );
      const first = new Map(rows.toReversed().map((row) => [row.id, row]));
      return [...first.values()].map((row) => ({
        confirmedMs: row.confirmed_ms,
        deliveredMs: row.delivered_ms,
      }));
    },
    async close() {
      await Promise.all(pools.map((pool) => pool.end()));
    },
  };
}

interface CountRow {
  readonly stored: string;
  readonly first_calls: string;
  readonly done: string;
}

const countQuery = `
WITH run AS MATERIALIZED (SELECT id FROM message WHERE id >= $2::uuid AND tag = $1)
SELECT (SELECT count(*) FROM run) AS stored,
  (SELECT count(*) FROM attempt JOIN run ON message_id = run.id WHERE message_id >= $2::uuid AND attempt = 1) AS first_calls,
  (SELECT count(*) FROM delivery JOIN run ON message_id = run.id WHERE message_id >= $2::uuid AND state = 'DONE') AS done`;

interface JourneyRow {
  readonly id: string;
  readonly confirmed_ms: number | null;
  readonly delivered_ms: number | null;
}

const journeyQuery = `
SELECT message.id, (extract(epoch FROM confirmed_at - accepted_at) * 1000)::float8 AS confirmed_ms,
  CASE WHEN done.count = $3::int THEN (extract(epoch FROM done.at - accepted_at) * 1000)::float8 END AS delivered_ms
FROM message LEFT JOIN (
  SELECT message_id, count(*), max(updated_at) AS at FROM delivery
  WHERE message_id >= $2::uuid AND state = 'DONE' GROUP BY message_id
) AS done ON done.message_id = message.id
WHERE message.id >= $2::uuid AND tag = $1`;

async function queryAll<Row extends object>(
  pools: readonly pg.Pool[],
  text: string,
  params: readonly unknown[],
): Promise<readonly Row[]> {
  const results = await Promise.all(
    pools.map((pool) => pool.query<Row & pg.QueryResultRow>(text, [...params])),
  );
  return results.flatMap(({ rows }) => rows);
}
