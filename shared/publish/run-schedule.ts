/**
 * Schedules: at each tick of a cron expression one message is published.
 *
 *   claim `schedule` entry ─▶ load ─▶ ticks due ─▶ publish each under its own id ─▶ move to the next tick
 *
 * The id of a tick's message follows from the schedule and the tick, so however often a tick is published, by whomever,
 * it is one message. What if the process dies: before the publish, the entry falls due again; between publish and move,
 * the same, and the store knows the id already. A move that comes late holds an old lease and moves nothing.
 */
import { createHash } from 'node:crypto';
import type { DueEntry } from '../agenda/agenda.ts';
import { nextTimes } from '../cron.ts';
import { mintMessageId, originOf, type MessageId, type ScheduleId } from '../identifier.ts';
import type { DueSchedule, ScheduleMove } from '../sets/schedule.ts';
import type { Offer } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';
import type { Committer } from './commit.ts';

export interface RunScheduleParts {
  readonly set: string;
  readonly committer: Pick<Committer, 'accept'>;
}

/** A tick is missed when nobody was there for so long: a cron comes once a minute, and may be slow. */
const missedAfterMs = 90_000;
/** Ticks made up for in one step. */
const maxTicks = 100;

export async function runSchedules(
  parts: RunScheduleParts,
  store: Store,
  entries: readonly DueEntry[],
): Promise<void> {
  const loaded = new Map(
    (await store.loadSchedules(entries)).map((schedule) => [schedule.id.slice(4), schedule]),
  );
  const known = entries.flatMap((entry) => {
    const schedule = loaded.get(entry.refs[0]?.slice(4) ?? '');
    return schedule ? [{ entry, schedule }] : [];
  });
  const published = await Promise.allSettled(
    known.map(({ entry, schedule }) => publishDue(parts, entry, schedule)),
  );
  // What was not stored stays claimed, and falls due again.
  const moves = published.flatMap((each) => (each.status === 'fulfilled' ? (each.value ?? []) : []));
  // Paused or deleted.
  const ended = entries.filter((entry) => !known.some((each) => each.entry === entry));
  await Promise.all([
    moves.length > 0 ? store.moveSchedules(moves) : undefined,
    ended.length > 0 ? store.finish(ended) : undefined,
  ]);
}

/** @returns where the schedule goes from here; undefined when a message was refused */
async function publishDue(
  { set, committer }: RunScheduleParts,
  { entry, token }: DueEntry,
  schedule: DueSchedule,
): Promise<ScheduleMove | undefined> {
  const { publish, nextMs } = ticksDue(schedule);
  const offers = publish.map((tickMs) => offerOf(set, schedule, tickMs));
  const receipts = offers.length > 0 ? await committer.accept(offers, { waitMs: 0 }) : [];
  if (receipts.some(({ refusal }) => refusal)) return undefined;
  const ran = offers.map(({ message }, index) => ({ tickMs: publish[index] ?? 0, message: message.id }));
  const next = nextMs === undefined ? {} : { nextMs };
  return { lease: { entry, token }, id: schedule.id, ran, ...next };
}

/** Which ticks are to be published now, and which comes next. Pure. */
export function ticksDue(
  schedule: Pick<DueSchedule, 'cron' | 'timeZone' | 'missed' | 'nowMs' | 'nextMs' | 'sinceMs'>,
): { readonly publish: readonly number[]; readonly nextMs?: ScheduleMove['nextMs'] } {
  const { missed, nowMs } = schedule;
  const first = schedule.nextMs ?? nextTimes(schedule, schedule.sinceMs, 1)[0];
  if (first === undefined) return { publish: [] };
  const after = (ms: number) => nextTimes(schedule, ms, 1)[0];
  const withNext = (publish: readonly number[], nextMs: number | undefined) =>
    nextMs === undefined ? { publish } : { publish, nextMs };
  if (first > nowMs) return { publish: [], nextMs: first };
  if (missed === 'all') {
    const due = [first, ...nextTimes(schedule, first, maxTicks - 1)].filter((tick) => tick <= nowMs);
    return withNext(due, after(due.at(-1) ?? first));
  }
  const last = lastUntil(schedule, first);
  const isLate = nowMs - last > missedAfterMs;
  return withNext(missed === 'skip' && isLate ? [] : [last], after(nowMs));
}

/** The last tick up to now. An outage of a year of seconds must not be counted tick by tick: it is looked for backwards. */
function lastUntil(schedule: Pick<DueSchedule, 'cron' | 'timeZone' | 'nowMs'>, first: number): number {
  for (let backMs = 60_000; ; backMs *= 4) {
    const fromMs = Math.max(first - 1, schedule.nowMs - backMs);
    let last: number | undefined;
    for (
      let at = nextTimes(schedule, fromMs, 1)[0];
      at !== undefined && at <= schedule.nowMs;
      at = nextTimes(schedule, at, 1)[0]
    )
      last = at;
    if (last !== undefined) return last;
    if (fromMs < first) return first;
  }
}

function offerOf(set: string, { id, owner, message }: DueSchedule, tickMs: number): Offer {
  const placement = { set, reason: 'schedule' } as const;
  return { message: { ...message, id: tickId(id, tickMs), owner, acceptedAtMs: tickMs, placement } };
}

/** @example the same schedule and tick: the same id, in the database that keeps the schedule */
function tickId(schedule: ScheduleId, tickMs: number): MessageId {
  const digest = createHash('sha256').update(`${schedule}\n${tickMs}`).digest();
  return mintMessageId(originOf(schedule), tickMs, digest.subarray(0, 7));
}
