/** Hand-over in Postgres: rows travel as JSON out of one database into the other. One query, one function. */
import { toUuid, type MessageId } from '../identifier.ts';
import { Problem } from '../problem.ts';
import { answerOf, type Sql } from './database.ts';
import type { Footing, Goods, Handover, HandoverProgress, Hearer, TakeOverPlan } from './handover.ts';
import { idOf, numberOrNull, text, textOrNull, type Row } from './rows.ts';
import { changeTenure, readTenure, setTenure, tenureOf } from './tenure.ts';

export function openHandover(sql: Sql): Handover {
  return {
    fence: async (set) => (await setTenure([sql], set, 'fenced')).epoch,
    unfence: async (set, epoch) => (await changeTenure(sql, { set, from: epoch, state: 'serving' })).epoch,
    progress: (set) => readProgress(sql, set),
    plan: (set, hearers, wanted) => planDepartures(sql, set, { hearers, wanted }),
    next: (set, hearers, limit) => nextDepartures(sql, set, { hearers, limit }),
    takeIn: (target, origin, goods, hearers) => takeIn(sql, { target, origin }, goods, hearers),
    sendOff: (set, target, goods, hearers) => sendOff(sql, { set, target }, goods, hearers),
    belongings: (set) => loadBelongings(sql, set),
    takeInBelongings: (target, goods) => takeInBelongings(sql, target, goods),
    end: (set, goods) => endTakeOver(sql, set, goods),
    footing: (set) => readFooting(sql, set),
    lastPlan: (set) => findLastPlan(sql, set),
    departed: (ids) => findDeparted(sql, ids),
  };
}

async function readProgress(sql: Sql, set: string): Promise<HandoverProgress> {
  const tenure = await readTenure(sql, set);
  const [row] = await answerOf(sql`
    SELECT (SELECT count(*) FROM departure WHERE set_id = ${set} AND left_at IS NULL) AS pending,
      (SELECT CASE WHEN ended_at IS NULL THEN 'begun' ELSE 'ended' END FROM take_over
        WHERE set_id = ${set} AND epoch = ${tenure.epoch}) AS state`);
  const state = (row?.['state'] as HandoverProgress['state'] | null | undefined) ?? 'none';
  return { tenure, state, pending: Number(row?.['pending']) };
}

function listenersJson(hearers: readonly Hearer[]): string {
  return JSON.stringify(
    hearers.map(({ sinceMs, filter, ...rest }) => ({
      ...rest,
      since: sinceMs / 1000,
      is_filtered: filter !== undefined,
    })),
  );
}

interface Planning {
  readonly hearers: readonly Hearer[];
  readonly wanted: TakeOverPlan;
}

async function planDepartures(sql: Sql, set: string, { hearers, wanted }: Planning): Promise<TakeOverPlan> {
  const { state } = await readTenure(sql, set);
  if (state !== 'fenced') throw new Problem('conflict', `SET "${set}" is ${state}: fence it first.`);
  const [row] = await answerOf(sql`
    SELECT plan_departures(${set}, ${listenersJson(hearers)}::json, ${JSON.stringify(wanted)}::json) AS plan`);
  return row?.['plan'] as TakeOverPlan;
}

/** Of one journey. Bodies travel as text of twice their size. */
const maxBytes = 2_097_152;

interface Leaving {
  readonly hearers: readonly Hearer[];
  readonly limit: number;
}

/**
 * The next messages with all their rows, by one snapshot. What is due tells how long until then, since the other database
 * has a clock of its own.
 */
async function nextDepartures(sql: Sql, set: string, { hearers, limit }: Leaving): Promise<Goods> {
  const listening = hearers.map(({ subscription }) => subscription);
  const [row] = await answerOf(sql`
    WITH first AS (
      SELECT message_id AS id, nth, sum(size) OVER (ORDER BY nth) AS bytes, min(nth) OVER () AS least FROM (
        SELECT * FROM departure WHERE set_id = ${set} AND left_at IS NULL ORDER BY nth FETCH FIRST (${limit}::integer) ROWS WITH TIES
      ) AS few
    ), next AS MATERIALIZED (
      SELECT m.*, stream_of(m.topic, m.lane, m.session, m.sequence) AS stream FROM first f JOIN message m ON m.id = f.id
      WHERE f.bytes <= ${maxBytes} OR f.nth = f.least
    ), entry AS MATERIALIZED (
      SELECT id, kind, refs, subscription, stream, attempts AS tries, extract(epoch FROM due_at - now()) AS due_in
      FROM agenda WHERE set_id = ${set}
    )
    SELECT
      (SELECT json_agg(n) FROM next n) AS messages,
      (SELECT json_agg(b) FROM message_body b JOIN next n ON n.id = b.id) AS bodies,
      (SELECT json_agg(e ORDER BY e.at) FROM message_event e JOIN next n ON n.id = e.message_id) AS events,
      (SELECT json_agg(a ORDER BY a.at) FROM attempt a JOIN next n ON n.id = a.message_id) AS attempts,
      (SELECT json_agg(e) FROM message_end e JOIN next n ON n.id = e.message_id) AS ends,
      (SELECT json_agg(d) FROM (
        SELECT d.*, e.kind, e.due_in, e.tries FROM delivery d JOIN next n ON n.id = d.message_id
        LEFT JOIN entry e ON e.id = d.entry) d) AS deliveries,
      (SELECT json_agg(l) FROM (
        SELECT e.message_id, e.position, n.stream FROM lane_entry e JOIN next n ON n.id = e.message_id ORDER BY e.position) l) AS lanes,
      (SELECT json_agg(s) FROM stream s WHERE s.subscription = ANY(${listening}::text[])
        AND s.stream IN (SELECT stream FROM next WHERE lane IS NOT NULL)) AS cursors,
      (SELECT json_agg(s) FROM stream s WHERE s.subscription = ANY(${listening}::text[])
        AND s.stream IN (SELECT stream FROM next WHERE sequence IS NOT NULL)) AS sessions,
      (SELECT json_agg(i) FROM stream_item i WHERE i.subscription = ANY(${listening}::text[])
        AND i.stream IN (SELECT stream FROM next WHERE sequence IS NOT NULL)) AS items,
      (SELECT json_agg(t) FROM (
        SELECT t.*, e.due_in, e.tries FROM transaction t JOIN next n ON n.id = t.id LEFT JOIN entry e ON e.id = t.check_entry
        WHERE t.state IN ('PREPARED', 'CHECK_EXHAUSTED')) t) AS transactions,
      (SELECT json_agg(e) FROM entry e WHERE e.kind = 'order' AND e.stream IN (SELECT stream FROM next)) AS orders`);
  const rows = rowsIn(row);
  return { rows, messages: (rows['messages'] ?? []).map(departing) };
}

function departing(row: Row): Goods['messages'][number] {
  const [lane, stream, mirror] = [row['lane'], row['stream'], row['mirror']].map(textOrNull);
  return {
    id: idOf(row['id']),
    topic: text(row['topic']),
    lane: lane ?? null,
    stream: stream ?? null,
    mirror: mirror ?? null,
  };
}

/** Nothing of a kind is null in SQL. */
function rowsIn(row: Row | undefined): Goods['rows'] {
  return Object.fromEntries(
    Object.entries(row ?? {}).map(([name, rows]) => [name, (rows ?? []) as readonly Row[]]),
  );
}

interface Between {
  readonly target: string;
  readonly origin: string;
}

async function takeIn(
  sql: Sql,
  { target, origin }: Between,
  { rows }: Goods,
  hearers: readonly Hearer[],
): Promise<void> {
  // The copy elsewhere is one of the old home's, and about to go.
  const messages = (rows['messages'] ?? []).map((row) => ({ ...row, set_id: target, mirror: null }));
  const goods = JSON.stringify({ ...rows, messages });
  await answerOf(
    sql`SELECT take_in(${target}, ${origin}, ${goods}::json, ${listenersJson(hearers)}::json) AS taken`,
  );
}

async function sendOff(
  sql: Sql,
  { set, target }: { readonly set: string; readonly target: string },
  { messages, rows }: Goods,
  hearers: readonly Hearer[],
): Promise<void> {
  const ids = messages.map(({ id }) => toUuid(id)).toSorted();
  const sessions = [...new Set((rows['sessions'] ?? []).map((row) => text(row['stream'])))];
  const listening = hearers.map(({ subscription }) => subscription);
  await answerOf(
    sql`SELECT send_off(${set}, ${ids}::uuid[], ${target}, ${sessions}::text[], ${listening}::text[])`,
  );
}

async function loadBelongings(sql: Sql, set: string): Promise<Goods> {
  const [row] = await answerOf(sql`
    WITH entry AS MATERIALIZED (
      SELECT kind, refs[1] AS ref, subscription, attempts AS tries, extract(epoch FROM due_at - now()) AS due_in
      FROM agenda WHERE set_id = ${set} AND kind IN ('callback', 'gap', 'schedule')
    )
    SELECT (SELECT json_agg(e) FROM entry e) AS entries,
      (SELECT json_agg(s) FROM schedule s WHERE s.set_id = ${set}) AS schedules,
      (SELECT json_agg(r) FROM schedule_run r JOIN schedule s ON s.id = r.schedule_id WHERE s.set_id = ${set}) AS runs,
      (SELECT json_agg(c) FROM delivery_callback c JOIN entry e ON e.ref = c.id) AS callbacks,
      (SELECT json_agg(g) FROM gap_callback g JOIN entry e ON e.ref = g.id) AS gaps`);
  return { messages: [], rows: rowsIn(row) };
}

async function takeInBelongings(sql: Sql, target: string, { rows }: Goods): Promise<void> {
  const schedules = (rows['schedules'] ?? []).map((row) => ({ ...row, set_id: target }));
  const goods = JSON.stringify({ ...rows, schedules });
  await answerOf(sql`SELECT take_in_belongings(${target}, ${goods}::json)`);
}

/** Only of what was brought: a schedule that somebody made meanwhile is nobody else's. What is left of the agenda is of nothing. */
async function endTakeOver(sql: Sql, set: string, { rows }: Goods): Promise<void> {
  const idsOf = (name: string): readonly string[] => (rows[name] ?? []).map((row) => text(row['id']));
  await answerOf(sql`
    WITH over AS (
      UPDATE take_over o SET ended_at = now() FROM tenure t
      WHERE o.set_id = ${set} AND t.set_id = o.set_id AND t.epoch = o.epoch AND t.state = 'fenced' AND o.ended_at IS NULL
        AND NOT EXISTS (SELECT FROM departure d WHERE d.set_id = ${set} AND d.left_at IS NULL)
      RETURNING o.set_id
    ), schedules AS (DELETE FROM schedule s USING over WHERE s.id = ANY(${idsOf('schedules')}::uuid[])
    ), runs AS (DELETE FROM schedule_run r USING over WHERE r.schedule_id = ANY(${idsOf('schedules')}::uuid[])
    ), callbacks AS (DELETE FROM delivery_callback c USING over WHERE c.id = ANY(${idsOf('callbacks')}::uuid[])
    ), gaps AS (DELETE FROM gap_callback g USING over WHERE g.id = ANY(${idsOf('gaps')}::uuid[]))
    DELETE FROM agenda a USING over WHERE a.set_id = over.set_id
      AND a.kind IN ('send', 'release', 'check', 'redeliver', 'order', 'callback', 'gap', 'schedule')`);
}

async function readFooting(sql: Sql, set: string): Promise<Footing> {
  const rows = await answerOf(sql`
    SELECT t.epoch, t.state, d.at_ms
    FROM (SELECT extract(epoch FROM max(left_at)) * 1000 AS at_ms FROM departure WHERE left_at IS NOT NULL) d
    LEFT JOIN tenure t ON t.set_id = ${set}`);
  return { tenure: tenureOf(rows), lastLeftAtMs: numberOrNull(rows[0]?.['at_ms']) ?? undefined };
}

async function findLastPlan(sql: Sql, set: string): Promise<TakeOverPlan | undefined> {
  const [row] = await answerOf(
    sql`SELECT plan FROM take_over WHERE set_id = ${set} ORDER BY epoch DESC LIMIT 1`,
  );
  return row?.['plan'] as TakeOverPlan | undefined;
}

async function findDeparted(sql: Sql, ids: readonly MessageId[]): Promise<ReadonlySet<MessageId>> {
  const rows = await answerOf(sql`
    SELECT message_id FROM departure WHERE message_id = ANY(${ids.map(toUuid)}::uuid[]) AND left_at IS NOT NULL
    LIMIT ${ids.length}`);
  return new Set(rows.map((row) => idOf(row['message_id'])));
}
