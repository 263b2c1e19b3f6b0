/**
 * Scheduled messages: cancel, move. They are listed by `GET /v1/messages?state=scheduled`.
 *
 * A failover may have left a message in two SETs, so a change is asked of all of them, and is done when all have
 * answered; one that does not answer makes it a 503, and the same request may be sent again. In each SET either the
 * change or the release is first: too late is a 409.
 */
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { parseMessageId, type MessageId } from '../shared/identifier.ts';
import { readDue } from '../shared/message/times.ts';
import type { Due } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { Problem, type Fault } from '../shared/problem.ts';
import type { Change, ChangeRequest, SetLink } from '../shared/sets/set-link.ts';
import { answerJson, type Answer } from './answer.ts';
import { authenticate } from './authenticate.ts';
import type { Door } from './door.ts';
import { askSets, whereaboutsOf } from './look-up.ts';
import { readBody, refuseEncodedBody, requireJsonType } from './request-body.ts';
import { cancelDescription, moveDescription, moveSchema } from './scheduled-messages-description.ts';
import type { Services } from './services.ts';

export function scheduledMessageDoors(services: Services): readonly Door[] {
  return [cancel(services), move(services)];
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
