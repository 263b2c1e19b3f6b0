/**
 * Redrives: dead letters, or all that a subscription heard since a time, tried again; and how far that is.
 *
 * A redrive is begun in every SET under one id. With an Idempotency-Key the id follows from the key, so whoever got no
 * answer, or one that names SETs in `incomplete`, repeats the request: SETs that have it go on, the others begin.
 */
import { createHash } from 'node:crypto';
import { mintRedriveId, parseRedriveId } from '../shared/identifier.ts';
import type { MessageId, RedriveId } from '../shared/identifier.ts';
import { parseInstantMs } from '../shared/instant.ts';
import { Problem } from '../shared/problem.ts';
import { keyReused } from '../shared/publish/offer-in-turn.ts';
import type { RedriveRecord, RedriveStart, Selection } from '../shared/sets/dead-letters.ts';
import { tagPattern } from '../shared/subscriptions/tag-pattern.ts';
import { answerJson, type Answer } from './answer.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import { filterOf } from './dead-letters.ts';
import type { Door, Visit } from './door.ts';
import { readJson, readSmallBody } from './json-body.ts';
import { publishContext } from './publish-context.ts';
import {
  readRedriveDescription,
  redriveDescription,
  redriveRequest,
  replaySubscriptionDescription,
  replaySubscriptionRequest,
} from './redrives-description.ts';
import { belongingsOf } from './search-messages.ts';
import type { Services } from './services.ts';

export function redriveDoors(services: Services): readonly Door[] {
  return [redrive(services), readRedrive(services), replaySubscription(services)];
}

function redrive(services: Services): Door {
  return {
    description: redriveDescription,
    async open(visit) {
      const begun = await beginning(services, visit);
      const { all, filter, ids, ratePerSecond } = readJson(begun.body, redriveRequest);
      if ([all, filter, ids].filter((each) => each !== undefined).length !== 1)
        throw new Problem('invalid-request', 'Send exactly one of ids, filter and all.');
      const selection: Selection = {
        kind: 'dead-letters',
        filter: filterOf(filter ?? {}),
        ...(ids === undefined ? {} : { ids: ids as MessageId[] }),
      };
      return begin(services, begun, { selection, perSecond: ratePerSecond ?? defaultPerSecond });
    },
  };
}

/** What a webhook that just failed for a while may bear. */
const defaultPerSecond = 50;

function replaySubscription(services: Services): Door {
  return {
    description: replaySubscriptionDescription,
    async open(visit) {
      const begun = await beginning(services, visit);
      const { topics, subscriptions } = await services.catalog.current();
      const name = visit.parameter('name');
      const subscription = subscriptions.get(name);
      const topic = topics.get(subscription?.topic ?? '');
      if (!topic || subscription?.owner !== begun.owner)
        throw new Problem('not-found', `There is no subscription "${name.slice(0, 128)}".`);
      const { from, to, ratePerSecond } = readJson(begun.body, replaySubscriptionRequest);
      const selection: Selection = {
        kind: 'subscription',
        subscription: name,
        topic: topic.name,
        pattern: tagPattern(topic.type, subscription.bindings),
        fromMs: parseInstantMs(from, '/from'),
        ...(to === undefined ? {} : { toMs: parseInstantMs(to, '/to') }),
      };
      return begin(services, begun, { selection, perSecond: ratePerSecond ?? defaultPerSecond });
    },
  };
}

interface Beginning {
  readonly owner: string;
  readonly body: Uint8Array;
  readonly id: RedriveId;
  readonly fingerprint?: string;
}

async function beginning(services: Services, visit: Visit): Promise<Beginning> {
  const key = await authenticate(visit.request, 'manage', services);
  const body = await readSmallBody(visit.request);
  const addBody = (hash: { update(data: Uint8Array): unknown }): void => void hash.update(body);
  const { idempotency } = publishContext(services, { visit, key, addBody });
  const { owner } = key;
  if (!idempotency) return { owner, body, id: mintRedriveId(services.clock.nowMs()) };
  const digest = createHash('sha256').update(`redrive\n${owner}\n${idempotency.key}`).digest();
  // The time of an id is for people; with a key it must not change from one try to the next.
  const id = mintRedriveId(digest.readUIntBE(7, 4), digest.subarray(0, 7));
  return { owner, body, id, fingerprint: idempotency.fingerprint };
}

async function begin(
  services: Services,
  { owner, id, fingerprint }: Beginning,
  work: Pick<RedriveStart, 'selection' | 'perSecond'>,
): Promise<Answer> {
  const of = belongingsOf(await services.catalog.current(), owner);
  const start = { id, of, ...work, ...(fingerprint === undefined ? {} : { fingerprint }) };
  const { answers, incomplete } = await askFleet(services, (link) => link.redrive(start));
  const records = answers.flat();
  if (records.length === 0)
    throw new Problem('set-unavailable', 'No SET answers now. Repeat the same request.', {
      retryAfterSeconds: 2,
    });
  if (fingerprint !== undefined && records.some((record) => record.fingerprint !== fingerprint))
    throw keyReused();
  return answerJson(202, { ...together(id, records), incomplete }, { location: `/v1/redrives/${id}` });
}

function readRedrive(services: Services): Door {
  return {
    description: readRedriveDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'read', services);
      const id = parseRedriveId(parameter('id'));
      const { answers, incomplete } = await askFleet(services, (link) => link.findRedrive(id));
      const records = answers.flat().filter((record) => record.owner === owner);
      if (records.length === 0 && incomplete.length > 0)
        throw new Problem('set-unavailable', 'A SET that may have this redrive does not answer.', {
          retryAfterSeconds: 2,
        });
      if (records.length === 0) throw new Problem('not-found', `There is no redrive ${id}.`);
      return answerJson(200, { ...together(id, records), incomplete });
    },
  };
}

/** One redrive as a whole, of what each database says. */
function together(id: RedriveId, records: readonly RedriveRecord[]) {
  const isRunning = records.some(({ state }) => state === 'RUNNING');
  const ends = records.flatMap(({ endedAt }) => endedAt ?? []).toSorted();
  return {
    id,
    state: isRunning ? 'running' : 'done',
    handled: records.reduce((sum, { handled }) => sum + handled, 0),
    ratePerSecond: records[0]?.perSecond,
    beganAt: records.map(({ beganAt }) => beganAt).toSorted()[0],
    endedAt: isRunning ? null : (ends.at(-1) ?? null),
  };
}
