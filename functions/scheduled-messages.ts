/**
 * Scheduled messages: list, cancel, move.
 *
 * A failover may have left a message in two SETs, so a change is asked of all of them, and is done when all have
 * answered; one that does not answer makes it a 503, and the same request may be sent again. In each SET either the
 * change or the release is first: too late is a 409.
 */
import { z } from 'zod';
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { parseMessageId, type MessageId } from '../shared/identifier.ts';
import { readDue } from '../shared/message/times.ts';
import type { Due } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { Problem, type Fault } from '../shared/problem.ts';
import { mergeScheduled } from '../shared/sets/scheduled-page.ts';
import type { Change, ChangeRequest, ScheduledMessage, SetLink } from '../shared/sets/set-link.ts';
import { answerJson, type Answer } from './answer.ts';
import { messageId } from './answer-schemas.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import { readCursor, writeCursor } from './cursor.ts';
import type { Door } from './door.ts';
import { askSets, whereaboutsOf } from './look-up.ts';
import { readQuery } from './query-parameters.ts';
import { readBody, refuseEncodedBody, requireJsonType } from './request-body.ts';
import {
  cancelDescription,
  listDescription,
  listQuery,
  moveDescription,
  moveSchema,
} from './scheduled-messages-description.ts';
import type { Services } from './services.ts';

export function scheduledMessageDoors(services: Services): readonly Door[] {
  return [list(services), cancel(services), move(services)];
}

function list(services: Services): Door {
  return {
    description: listDescription,
    async open({ request, url }) {
      const { owner } = await authenticate(request, 'read', services);
      const { limit, cursor } = readQuery(url().searchParams, listQuery);
      return answerJson(200, await listScheduled(services, { owner, limit, cursor }));
    },
  };
}

function cancel(services: Services): Door {
  return {
    description: cancelDescription,
    async open({ request, parameter }) {
      const key = await authenticate(request, 'publish', services);
      const id = parseMessageId(parameter('id'));
      return changed(services, id, (link) => link.cancel(askedBy(key, id)));
    },
  };
}

function move(services: Services): Door {
  return {
    description: moveDescription,
    async open({ request, parameter }) {
      const key = await authenticate(request, 'publish', services);
      const id = parseMessageId(parameter('id'));
      refuseEncodedBody(request);
      requireJsonType(request);
      const body = await readBody(request, services.limits.maxBodyBytes);
      const due = readMove(readStrictJson(body), services.clock.nowMs());
      return changed(services, id, (link) => link.move({ ...askedBy(key, id), due }));
    },
  };
}

function askedBy(key: ApiKey, id: MessageId): ChangeRequest {
  return { id, owner: key.owner, by: `key ${key.id}` };
}

/** @throws Problem `invalid-request` */
function readMove(value: unknown, nowMs: number): Due {
  const parsed = moveSchema.safeParse(value);
  const faults: Fault[] = (parsed.error?.issues ?? []).map(({ path, message }) => ({
    at: path.map((part) => `/${String(part)}`).join(''),
    detail: message,
  }));
  const reading = { nowMs, mode: 'confirm', at: (name: string) => `/${name}` } as const;
  const due = parsed.success ? readDue(parsed.data, reading, faults) : undefined;
  if (parsed.success && !due) faults.push({ at: '', detail: 'Send deliverAfter or deliverAt.' });
  if (due && faults.length === 0) return due;
  const [first] = faults;
  throw new Problem('invalid-request', `${first?.at}: ${first?.detail}`, { faults });
}

async function changed(
  services: Services,
  id: MessageId,
  ask: (link: SetLink) => Promise<Change | undefined>,
): Promise<Answer> {
  const { home, others } = await whereaboutsOf(id, services);
  const { found, failure } = await askSets(services, [...home, ...others], ask);
  const changes = found.map(({ value }) => value);
  const late = changes.find(({ outcome }) => outcome === 'too-late');
  if (late) throw new Problem('conflict', `It is too late: message ${id} is ${late.state}.`);
  if (failure !== undefined) {
    throw new Problem('set-unavailable', 'A SET that may have this message does not answer. Ask again.', {
      retryAfterSeconds: 2,
      cause: failure,
    });
  }
  if (changes.some(({ outcome }) => outcome === 'expires-first')) {
    const detail = 'It would expire before it is delivered.';
    throw new Problem('invalid-request', detail, { faults: [{ at: '', detail }] });
  }
  const [change] = changes;
  // Somebody else's message is told apart from none by nothing.
  if (!change) throw new Problem('not-found', `There is no message ${id}.`);
  return answerJson(200, { id, state: change.state, deliverAt: change.deliverAt });
}

interface Page {
  readonly owner: string;
  readonly limit: number;
  /** From the former page. */
  readonly cursor: string | undefined;
}

interface Shown extends Omit<ScheduledMessage, 'dueMicros'> {
  readonly state: 'SCHEDULED';
}

interface ScheduledPage {
  readonly messages: readonly Shown[];
  /** Cursor of the next page; absent at the end. */
  readonly next?: string;
  /** SETs that did not answer: their messages are missing. */
  readonly incomplete: readonly string[];
}

const positionSchema = z.strictObject({
  at: z.string().regex(/^\d{1,17}$/),
  id: messageId.transform((id) => id as MessageId),
});

/** Says of a cursor that it belongs to this list. */
const question = { state: 'SCHEDULED', order: 'due' } as const;

/**
 * One page of the owner's scheduled messages, of all SETs, in the order they fall due.
 * @throws Problem `invalid-request` for a cursor that is none
 */
async function listScheduled(services: Services, { owner, limit, cursor }: Page): Promise<ScheduledPage> {
  const after = cursor === undefined ? undefined : readCursor(cursor, question, positionSchema);
  const place = after ? { after: { dueMicros: after.at, id: after.id } } : {};
  const query = { owner, limit: limit + 1, ...place };
  const { answers, incomplete } = await askFleet(services, (link) => link.scheduled(query));
  const found = mergeScheduled(answers, limit + 1);
  const messages = found.slice(0, limit);
  const last = found.length > limit ? messages.at(-1) : undefined;
  return {
    messages: messages.map(shown),
    ...(last ? { next: writeCursor(question, { at: last.dueMicros, id: last.id }) } : {}),
    incomplete,
  };
}

function shown(scheduled: ScheduledMessage): Shown {
  const { dueMicros: _, ...message } = scheduled;
  return { ...message, state: 'SCHEDULED' };
}
