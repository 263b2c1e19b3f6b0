/**
 * Messages: publish one as JSON, publish one as it is, look one up.
 *
 *   Prefer: wait=5       (RFC 7240) holds the answer up to 5 s, at most 10, for the broker's confirm; the answer says
 *                        what was applied. Anything else in Prefer is ignored, as that RFC asks.
 *   Idempotency-Key      1 to 255 visible ASCII characters. The fingerprint that tells one request from another is
 *                        SHA-256 over method, path, content type, `Setway-*` and `ce-*` headers and the body: what
 *                        decides about the message, not how the request travelled nor where it came from.
 */
import { createHash } from 'node:crypto';
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { parseMessageId } from '../shared/identifier.ts';
import { cloudEventMode, readBinaryEvent, readStructuredEvent } from '../shared/message/cloud-event.ts';
import { readDraft, readRawDraft } from '../shared/message/draft.ts';
import type { Draft } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { Problem } from '../shared/problem.ts';
import type { PublishContext } from '../shared/publish/publisher.ts';
import { placeOfRequest } from '../shared/sets/place.ts';
import type { Coordinates } from '../shared/sets/place.ts';
import { answerJson } from './answer.ts';
import type { Answer } from './answer.ts';
import { authenticate } from './authenticate.ts';
import type { Door, Visit } from './door.ts';
import { findMessage } from './find-message.ts';
import {
  maxWaitSeconds,
  publishJsonDescription,
  publishRawDescription,
  readMessageDescription,
} from './messages-description.ts';
import { readBody, refuseEncodedBody, requireJsonType, requireUtf8 } from './request-body.ts';
import type { Services } from './services.ts';

export function messageDoors(services: Services): readonly Door[] {
  return [publishJson(services), publishRaw(services), readMessage(services)];
}

function publishJson(services: Services): Door {
  return {
    description: publishJsonDescription,
    async open(visit) {
      const { request } = visit;
      const key = await authenticate(request, 'publish', services);
      refuseEncodedBody(request);
      requireJsonType(request);
      const body = await readBody(request, services.limits.maxBodyBytes);
      return publish(services, { visit, key, body }, readDraft(readStrictJson(body)));
    },
  };
}

function publishRaw(services: Services): Door {
  return {
    description: publishRawDescription,
    async open(visit) {
      const { request } = visit;
      const key = await authenticate(request, 'publish', services);
      refuseEncodedBody(request);
      const body = await readBody(request, services.limits.maxBodyBytes);
      return publish(services, { visit, key, body }, draftOfRaw(visit, body));
    },
  };
}

function readMessage(services: Services): Door {
  return {
    description: readMessageDescription,
    async open({ request, parameter }) {
      const key = await authenticate(request, 'read', services);
      const id = parseMessageId(parameter('id'));
      const record = await findMessage(id, services);
      // Somebody else's message is told apart from none by nothing.
      if (record?.owner !== key.owner) throw new Problem('not-found', `There is no message ${id}.`);
      const { owner: _, ...shown } = record;
      return answerJson(200, shown);
    },
  };
}

function draftOfRaw({ request, parameter }: Visit, body: Uint8Array): Draft {
  const raw = { topic: parameter('topic'), headers: request.headers, body };
  switch (cloudEventMode(request.headers)) {
    case 'binary':
      return readBinaryEvent(raw);
    case 'structured': {
      const [type, ...parameters] = (request.headers.get('content-type') ?? '').toLowerCase().split(';');
      if (type?.trim() !== 'application/cloudevents+json')
        throw new Problem('unsupported-media-type', noOtherEvents);
      requireUtf8(parameters);
      return readStructuredEvent(raw);
    }
    case 'batch':
      throw new Problem('unsupported-media-type', noOtherEvents);
    case undefined:
      return readRawDraft(raw);
  }
}

const noOtherEvents = 'CloudEvents come in binary mode or as application/cloudevents+json, one at a time.';

interface Accepted {
  readonly visit: Visit;
  readonly key: ApiKey;
  readonly body: Uint8Array;
}

async function publish(services: Services, accepted: Accepted, draft: Draft): Promise<Answer> {
  const { visit, key } = accepted;
  const { request, traceparent } = visit;
  const place = placeOfRequest(
    { headers: request.headers, cf: (request as { readonly cf?: Coordinates }).cf },
    { platform: services.platform, clientPlace: key.maySetPlace ? 'allowed' : 'forbidden' },
  );
  const waitSeconds = preferredWait(request.headers.get('prefer'));
  const idempotency = idempotencyOf(accepted);
  const context: PublishContext = {
    owner: key.owner,
    waitMs: (waitSeconds ?? 0) * 1000,
    ...(place === undefined ? {} : { place }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(idempotency === undefined ? {} : { idempotency }),
  };
  const { id, state, set, route, duplicate } = await services.publisher.publish(draft, context);
  return answerJson(
    202,
    { id, state, set, route, duplicate },
    {
      location: `/v1/messages/${id}`,
      ...(waitSeconds === undefined ? {} : { 'preference-applied': `wait=${waitSeconds}` }),
    },
  );
}

/** Whole seconds of `wait`, clamped; undefined when it is not asked for. */
function preferredWait(header: string | null): number | undefined {
  const seconds =
    header === null ? undefined : /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(header)?.[1];
  return seconds === undefined ? undefined : Math.min(Number(seconds), maxWaitSeconds);
}

/** Not where the publisher is: one who moves between two tries sends the same message. */
const decides = /^(?:content-type$|ce-|setway-(?!latitude$|longitude$))/i;

function idempotencyOf({ visit, body }: Accepted): PublishContext['idempotency'] {
  const { request } = visit;
  const key = request.headers.get('idempotency-key');
  if (key === null) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new Problem('invalid-request', 'Idempotency-Key: 1 to 255 visible ASCII characters.', {
      faults: [{ at: 'Idempotency-Key', detail: '1 to 255 visible ASCII characters.' }],
    });
  }
  const deciding = [...request.headers].filter(([name]) => decides.test(name));
  const head = [request.method, visit.url().pathname, deciding.sort(([a], [b]) => (a < b ? -1 : 1))];
  const hash = createHash('sha256').update(JSON.stringify(head)).update('\n').update(body);
  return { key, fingerprint: hash.digest('hex') };
}
