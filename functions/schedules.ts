/**
 * Schedules: made, listed, paused, resumed, deleted. A schedule has one home SET that does not change with anybody's
 * health, as a lane has: two SETs with one schedule would publish twice. A take-over moves it.
 */
import { createHash } from 'node:crypto';
import { cronFault, nextTimes } from '../shared/cron.ts';
import { mintScheduleId, originOf, parseScheduleId } from '../shared/identifier.ts';
import type { ScheduleId } from '../shared/identifier.ts';
import { withinMs } from '../shared/deadline.ts';
import { readDraft } from '../shared/message/draft.ts';
import type { Draft } from '../shared/message/message.ts';
import { didYouMean } from '../shared/nearest-name.ts';
import { Problem } from '../shared/problem.ts';
import { laneHome } from '../shared/publish/lane-home.ts';
import { keyReused } from '../shared/publish/offer-in-turn.ts';
import { bucketOf } from '../shared/sets/bucket.ts';
import type { Schedule, ScheduleChange, ScheduleRecord } from '../shared/sets/schedule.ts';
import type { SetDefinition } from '../shared/sets/set.ts';
import type { SetLink } from '../shared/sets/set-link.ts';
import { answerJson } from './answer.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import { refuseBadCallback } from './callbacks.ts';
import type { Door } from './door.ts';
import { readJson } from './json-body.ts';
import { askSets, foundNowhere, whereaboutsOf } from './look-up.ts';
import { readPublishRequest } from './publish-request.ts';
import {
  createScheduleDescription,
  deleteScheduleDescription,
  listSchedulesDescription,
  pauseScheduleDescription,
  readScheduleDescription,
  resumeScheduleDescription,
  scheduleRequest,
} from './schedules-description.ts';
import type { Services } from './services.ts';

export function scheduleDoors(services: Services): readonly Door[] {
  return [
    create(services),
    list(services),
    read(services),
    change(services, deleteScheduleDescription, 'delete'),
    change(services, pauseScheduleDescription, 'pause'),
    change(services, resumeScheduleDescription, 'resume'),
  ];
}

/** How long a SET may take to write or read a schedule. */
const patienceMs = 4_000;

function create(services: Services): Door {
  return {
    description: createScheduleDescription,
    async open(visit) {
      const { key, body, context } = await readPublishRequest(services, visit, services.limits.maxBodyBytes);
      const { idempotency } = context;
      const wanted = readJson(body, scheduleRequest);
      const times = { cron: wanted.cron, timeZone: wanted.timeZone ?? 'UTC' };
      const fault = cronFault(times);
      if (fault) throw refused(`/${fault.at}`, fault.detail);
      const draft = readMessage(wanted.message, services.clock.nowMs());
      within('/message', () => refuseBadCallback(draft.callback, services.webhookPolicy));
      const seed = idempotency?.key ?? crypto.randomUUID();
      const kept = (draft.order?.kind === 'lane' ? draft.order.lane : draft.key) ?? wanted.name ?? seed;
      const home = await homeOf(services, { draft, owner: key.owner, kept });
      const origin = { setNumber: home.number, shard: bucketOf(kept) % 64 };
      const { route: _, ...message } = draft;
      const schedule: Schedule = {
        ...times,
        id: idOf(services, origin, idempotency && `${key.owner}\n${idempotency.key}`),
        owner: key.owner,
        name: wanted.name ?? null,
        missed: wanted.missed ?? 'one',
        message,
        ...(idempotency === undefined ? {} : { fingerprint: idempotency.fingerprint }),
      };
      const made = await withinMs(
        services.clock,
        patienceMs,
        services.link(home.id).createSchedule(schedule),
      );
      if (made.owner !== key.owner || (made.fingerprint ?? undefined) !== schedule.fingerprint)
        throw keyReused();
      return answerJson(201, shown(made, services), { location: `/v1/schedules/${made.id}` });
    },
  };
}

/** With an idempotency key the id follows from the key: a repeat is the same schedule. */
function idOf(services: Services, origin: ReturnType<typeof originOf>, seed: string | undefined): ScheduleId {
  if (seed === undefined) return mintScheduleId(origin, services.clock.nowMs());
  const digest = createHash('sha256').update(`schedule\n${seed}`).digest();
  return mintScheduleId(origin, digest.readUIntBE(7, 4), digest.subarray(0, 7));
}

/** A message by the rules of a publish, without what the schedule decides. */
function readMessage(value: unknown, nowMs: number): Draft {
  const draft = within('/message', () => readDraft(value, nowMs));
  if (draft.mode !== 'confirm')
    throw refused('/message/mode', 'A schedule publishes stored messages: leave it out.');
  if (draft.due) throw refused('/message/deliverAfter', 'The schedule says when: leave it out.');
  if (draft.expiresAtMs !== undefined)
    throw refused('/message/expiresAfter', 'Not in a schedule: leave it out.');
  return draft;
}

/** Faults of a part stand where the part stands. */
function within<T>(at: string, reading: () => T): T {
  try {
    return reading();
  } catch (error) {
    if (!(error instanceof Problem) || error.status >= 500) throw error;
    const faults = error.extras.faults?.map((fault) => ({ ...fault, at: at + fault.at })) ?? [];
    const kind = error.kind === 'destination-refused' ? error.kind : 'invalid-request';
    throw new Problem(kind, `${at}: ${error.message}`, { faults, cause: error });
  }
}

function refused(at: string, detail: string): Problem {
  return new Problem('invalid-request', `${at}: ${detail}`, { faults: [{ at, detail }] });
}

interface Wanted {
  readonly draft: Draft;
  readonly owner: string;
  /** What decides where it is kept. */
  readonly kept: string;
}

async function homeOf({ catalog }: Services, { draft, owner, kept }: Wanted): Promise<SetDefinition> {
  const { table, topics } = await catalog.current();
  const topic = topics.get(draft.topic);
  if (topic?.owner !== owner) {
    const own = [...topics.values()].flatMap((each) => (each.owner === owner ? [each.name] : []));
    throw new Problem('not-found', `There is no topic "${draft.topic}".${didYouMean(draft.topic, own)}`);
  }
  const choice = draft.route === undefined ? {} : { choice: draft.route };
  return laneHome(table, { topic, ...choice }, kept).set;
}

function list(services: Services): Door {
  return {
    description: listSchedulesDescription,
    async open({ request }) {
      const { owner } = await authenticate(request, 'read', services);
      const { answers, incomplete } = await askFleet(services, (link) => link.listSchedules(owner));
      const schedules = answers
        .flat()
        .toSorted((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt))
        .map((record) => shown(record, services));
      return answerJson(200, { schedules, incomplete });
    },
  };
}

function read(services: Services): Door {
  return {
    description: readScheduleDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'read', services);
      const id = parseScheduleId(parameter('id'));
      const record = await askKeeper(services, id, (link) => link.findSchedule(id));
      if (record?.owner !== owner) throw new Problem('not-found', `There is no schedule ${id}.`);
      return answerJson(200, shown(record, services));
    },
  };
}

function change(
  services: Services,
  description: Door['description'],
  wanted: ScheduleChange['change'],
): Door {
  return {
    description,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'publish', services);
      const id = parseScheduleId(parameter('id'));
      const changed = await askKeeper(services, id, (link) =>
        link.changeSchedule({ id, owner, change: wanted }),
      );
      if (!changed) throw new Problem('not-found', `There is no schedule ${id}.`);
      return answerJson(200, shown(changed, services));
    },
  };
}

/** The SET that its id names has it, or the one that took that over. */
async function askKeeper<T>(
  services: Services,
  id: ScheduleId,
  ask: (keeper: SetLink) => Promise<T | undefined>,
): Promise<T | undefined> {
  const { home, others } = await whereaboutsOf(id, services);
  const atHome = await askSets(services, home, ask);
  if (atHome.found[0]) return atHome.found[0].value;
  const elsewhere = await askSets(services, others, ask);
  return elsewhere.found[0]?.value ?? foundNowhere('schedule', atHome, elsewhere);
}

/** How many of the next times are shown. */
const shownTimes = 5;

function shown(record: ScheduleRecord, { clock }: Services) {
  const { owner: _owner, fingerprint: _fingerprint, topic, tag, key, size, state, ...rest } = record;
  const times = state === 'PAUSED' ? [] : nextTimes(record, clock.nowMs(), shownTimes);
  return {
    ...rest,
    state: state.toLowerCase(),
    message: { topic, tag, key, size },
    nextTimes: times.map((ms) => new Date(ms).toISOString()),
  };
}
