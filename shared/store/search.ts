/**
 * Search in one database: every filter leads through an index (migrations/0006-search.ts), and which one is decided
 * here rather than left to chance:
 *
 *   key, lane, session                       their own index on `message`
 *   UNROUTABLE, FAILED, CANCELLED …          the side table of rare ends
 *   READY, SCHEDULED, HALF                   the agenda: what is not at its end has an entry there
 *   RETRY, DEAD … for a subscription         the index of open deliveries
 *   error                                    trigrams of the errors of attempts and messages
 *   the rest                                 the topics of the owner, each newest first, merged
 *
 * What else is asked is looked at row by row on that way.
 */
import { toUuid } from '../identifier.ts';
import type { DeliveryState, MessageState } from '../message/lifecycle.ts';
import type { FoundMessage, MessageSearch, Position } from '../sets/search.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, instant, instantOrNull, numberOrNull, text, textOrNull, type Row } from './rows.ts';

type Fragment = ReturnType<Sql>;

/** Where a message of a state that is not its end stands in the agenda. */
const waitingKinds: Partial<Record<MessageState, readonly string[]>> = {
  READY: ['send'],
  SCHEDULED: ['release'],
  HALF: ['check'],
};
const rareEnds: ReadonlySet<MessageState> = new Set([
  'UNROUTABLE',
  'FAILED',
  'CANCELLED',
  'ROLLED_BACK',
  'CHECK_EXHAUSTED',
]);

/**
 * Messages of one owner, newest first.
 * @throws Problem `database-unavailable`
 */
export async function searchMessages(
  sql: Sql,
  set: string,
  search: MessageSearch,
): Promise<readonly FoundMessage[]> {
  const rows = await answerOf(searchQuery(sql, set, search));
  return rows.map(foundOf);
}

/** Exported so that a test can EXPLAIN it. */
export function searchQuery(sql: Sql, set: string, search: MessageSearch): Fragment {
  const found = waysThrough(sql, set, search);
  return sql`
    SELECT m.id, m.topic, m.tag, m.key, m.lane, m.session, m.sequence, m.state, m.set_id, m.size, m.stored_at,
      m.deliver_at, m.error, (extract(epoch FROM m.stored_at) * 1000000)::bigint AS at_micros
    FROM ${found} AS m ORDER BY m.stored_at DESC, m.id DESC LIMIT ${search.limit}`;
}

function waysThrough(sql: Sql, set: string, search: MessageSearch): Fragment {
  const { of, filter, limit } = search;
  const conditions = all(sql, conditionsOf(sql, search));
  const page = sql`ORDER BY m.stored_at DESC, m.id DESC LIMIT ${limit}`;
  const { key, lane, session, state } = filter;
  if (key !== undefined || lane !== undefined || session !== undefined)
    return sql`(SELECT m.* FROM message m WHERE ${conditions} ${page})`;
  if (state !== undefined && rareEnds.has(state)) {
    const ended = all(sql, [
      sql`e.owner = ${of.owner} AND e.state = ${state}`,
      ...timesOf(sql, search, sql`e.stored_at`, sql`e.message_id`),
    ]);
    return sql`(SELECT m.* FROM message_end e JOIN message m ON m.id = e.message_id WHERE ${ended} AND ${conditions}
      ORDER BY e.stored_at DESC, e.message_id DESC LIMIT ${limit})`;
  }
  const narrow = narrowIds(sql, set, search);
  if (narrow) return sql`(SELECT m.* FROM message m WHERE m.id IN (${narrow}) AND ${conditions} ${page})`;
  const topics = filter.topic === undefined ? of.topics : [filter.topic];
  return sql`(SELECT m.* FROM unnest(${topics}::text[]) AS t(topic) CROSS JOIN LATERAL (
      SELECT m.* FROM message m WHERE m.topic = t.topic AND ${conditions} ${page}) AS m)`;
}

/** A small set of ids that every message asked for is in; undefined when no filter gives one. */
function narrowIds(sql: Sql, set: string, { of, filter }: MessageSearch): Fragment | undefined {
  const { deliveryState, error, state, subscription } = filter;
  if (error !== undefined) {
    const pattern = `%${error.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;
    return sql`SELECT message_id FROM attempt WHERE error ILIKE ${pattern} AND error IS NOT NULL
      UNION SELECT message_id FROM message_end WHERE error ILIKE ${pattern} AND error IS NOT NULL`;
  }
  if (deliveryState !== undefined && deliveryState !== 'DONE') {
    const subscriptions = subscription === undefined ? of.subscriptions : [subscription];
    return sql`SELECT message_id FROM delivery
      WHERE subscription = ANY(${subscriptions}::text[]) AND state = ${deliveryState} AND state <> 'DONE'`;
  }
  const kinds = state && waitingKinds[state];
  if (!kinds) return undefined;
  return sql`SELECT unnest(refs) FROM agenda WHERE set_id = ${set} AND kind = ANY(${kinds}::text[])`;
}

function conditionsOf(sql: Sql, search: MessageSearch): readonly Fragment[] {
  const { filter, of } = search;
  const { deliveryState, key, lane, session, state, subscription, topic } = filter;
  return [
    sql`m.owner = ${of.owner}`,
    ...(topic === undefined ? [] : [sql`m.topic = ${topic}`]),
    ...(key === undefined ? [] : [sql`m.key = ${key}`]),
    ...(lane === undefined ? [] : [sql`m.lane = ${lane}`]),
    ...(session === undefined ? [] : [sql`m.session = ${session}`]),
    ...(state === undefined ? [] : [sql`m.state = ${state}`]),
    ...(subscription === undefined && deliveryState === undefined
      ? []
      : [hasDelivery(sql, subscription, deliveryState)]),
    ...timesOf(sql, search, sql`m.stored_at`, sql`m.id`),
  ];
}

function hasDelivery(sql: Sql, subscription: string | undefined, state: DeliveryState | undefined): Fragment {
  return sql`EXISTS (SELECT FROM delivery d WHERE d.message_id = m.id
    AND (${subscription ?? null}::text IS NULL OR d.subscription = ${subscription ?? null})
    AND (${state ?? null}::text IS NULL OR d.state = ${state ?? null}))`;
}

/** From, to, and behind the last one of the page before. */
function timesOf(
  sql: Sql,
  { filter, after }: MessageSearch,
  storedAt: Fragment,
  id: Fragment,
): readonly Fragment[] {
  const { fromMs, toMs } = filter;
  return [
    ...(fromMs === undefined ? [] : [sql`${storedAt} >= ${new Date(fromMs).toISOString()}::timestamptz`]),
    ...(toMs === undefined ? [] : [sql`${storedAt} < ${new Date(toMs).toISOString()}::timestamptz`]),
    ...(after === undefined
      ? []
      : [sql`(${storedAt}, ${id}) < (${timeOf(after)}::timestamptz, ${toUuid(after.id)}::uuid)`]),
  ];
}

/** RFC 3339 with microseconds. */
function timeOf({ atMicros }: Position): string {
  const micros = BigInt(atMicros);
  const whole = new Date(Number(micros / 1_000_000n) * 1000).toISOString().slice(0, 19);
  return `${whole}.${(micros % 1_000_000n).toString().padStart(6, '0')}Z`;
}

function all(sql: Sql, conditions: readonly Fragment[]): Fragment {
  return conditions.reduce((before, condition) => sql`${before} AND ${condition}`);
}

/** A row of `message` with its place in the order of a list (`at_micros`). */
export function foundOf(row: Row): FoundMessage {
  return {
    id: idOf(row['id']),
    topic: text(row['topic']),
    tag: textOrNull(row['tag']),
    key: textOrNull(row['key']),
    lane: textOrNull(row['lane']),
    session: textOrNull(row['session']),
    sequence: numberOrNull(row['sequence']),
    state: row['state'] as MessageState,
    set: text(row['set_id']),
    size: Number(row['size']),
    storedAt: instant(row['stored_at']),
    deliverAt: instantOrNull(row['deliver_at']),
    error: textOrNull(row['error']),
    position: { atMicros: text(row['at_micros']), id: idOf(row['id']) },
  };
}
