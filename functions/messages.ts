/**
 * Messages: publish one as JSON, publish one as it is, look one up.
 *
 *   Prefer: wait=5       (RFC 7240) holds the answer up to 5 s, at most 10, for the broker's confirm; the answer says
 *                        what was applied. Anything else in Prefer is ignored, as that RFC asks.
 *   Idempotency-Key      1 to 255 visible ASCII characters. The fingerprint that tells one request from another is
 *                        SHA-256 over method, path, content type, `Setway-*` and `ce-*` headers and the body: what
 *                        decides about the message, not how the request travelled.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { parseMessageId } from '../shared/identifier.ts';
import { cloudEventMode, readBinaryEvent, readStructuredEvent } from '../shared/message/cloud-event.ts';
import { readDraft, readRawDraft } from '../shared/message/draft.ts';
import {
  contentTypeText,
  messageKey,
  messageMode,
  messageTag,
  publishSchema,
  routeFallback,
  setName,
  topicName,
} from '../shared/message/draft-schema.ts';
import type { Draft } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { Problem } from '../shared/problem.ts';
import type { PublishContext } from '../shared/publish/publisher.ts';
import { placeOfRequest } from '../shared/sets/place.ts';
import type { Coordinates } from '../shared/sets/place.ts';
import { answerJson } from './answer.ts';
import type { Answer } from './answer.ts';
import { messageId, messageSchema, publishedSchema } from './answer-schemas.ts';
import { authenticate } from './authenticate.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door, Visit } from './door.ts';
import { findMessage } from './find-message.ts';
import { readBody, refuseEncodedBody, requireJsonType, requireUtf8 } from './request-body.ts';
import type { Services } from './services.ts';

/** Longest `Prefer: wait`, in seconds: below the idle timeouts of common proxies. */
const maxWaitSeconds = 10;

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

function idempotencyOf({ visit, body }: Accepted): PublishContext['idempotency'] {
  const { request } = visit;
  const key = request.headers.get('idempotency-key');
  if (key === null) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new Problem('invalid-request', 'Idempotency-Key: 1 to 255 visible ASCII characters.', {
      faults: [{ at: 'Idempotency-Key', detail: '1 to 255 visible ASCII characters.' }],
    });
  }
  const deciding = [...request.headers].filter(([name]) => /^(?:content-type$|setway-|ce-)/i.test(name));
  const head = [request.method, visit.url().pathname, deciding.sort(([a], [b]) => (a < b ? -1 : 1))];
  const hash = createHash('sha256').update(JSON.stringify(head)).update('\n').update(body);
  return { key, fingerprint: hash.digest('hex') };
}

const publishProblems = describedProblems(
  'invalid-json',
  'unauthenticated',
  'forbidden',
  'not-found',
  'request-timeout',
  'in-flight',
  'too-large',
  'uri-too-long',
  'unsupported-media-type',
  'invalid-request',
  'key-reused',
  'headers-too-large',
  'internal',
  'set-unavailable',
);

const publishExample = {
  topic: 'orders',
  tag: 'eu.created',
  key: 'user-42',
  body: { order: 4711, total: 99.5 },
};

const accepted = described('Accepted: stored, or for fast handed to the broker.', publishedSchema, {
  example: {
    id: 'msg_01h455vb4pex5vsknk084sn02q',
    state: 'stored',
    set: 'hangzhou',
    route: { reason: 'nearest', distanceKm: 164.2 },
    duplicate: false,
  },
  headers: {
    Location: 'Where the message can be looked up.',
    'Preference-Applied': 'The wait that was applied, if one was asked for.',
  },
});

const requestHeaders = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .optional()
    .meta({
      description: 'Makes a retry safe: the same key and request get the first answer.',
      example: 'order-4711',
    }),
  Prefer: z
    .string()
    .optional()
    .meta({
      description: `wait=<seconds>, at most ${maxWaitSeconds}: waits for the confirm.`,
      example: 'wait=5',
    }),
  traceparent: z.string().optional().meta({ description: 'W3C trace context, passed on to the webhook.' }),
  'Setway-Latitude': z
    .string()
    .optional()
    .meta({ description: 'Where the publisher is, in degrees; the key must allow it.', example: '30.25' }),
  'Setway-Longitude': z.string().optional().meta({ description: 'See Setway-Latitude.', example: '120.17' }),
});

const publishJsonDescription: Door['description'] = {
  method: 'post',
  path: '/v1/messages',
  operationId: 'publishMessage',
  summary: 'Publish a message',
  tags: ['messages'],
  security: bearerSecurity,
  request: {
    headers: requestHeaders,
    body: {
      required: true,
      content: { 'application/json': { schema: publishSchema, example: publishExample } },
    },
  },
  responses: { 202: accepted, ...publishProblems },
};

const rawHeaders = requestHeaders.extend({
  'Setway-Tag': messageTag.optional(),
  'Setway-Key': messageKey.optional(),
  'Setway-Mode': messageMode.optional(),
  'Setway-Set': setName.optional(),
  'Setway-Route-Fallback': routeFallback.optional(),
  'Setway-Header-{name}': z
    .string()
    .optional()
    .meta({ description: 'A header {name} of your own, passed on to the webhook; any number up to 100.' }),
  'Content-Type': contentTypeText.optional(),
  'ce-specversion': z.string().optional().meta({
    description: 'Makes the request a CloudEvent in binary mode, with its other ce- headers.',
    example: '1.0',
  }),
});

const publishRawDescription: Door['description'] = {
  method: 'post',
  path: '/v1/topics/{topic}/messages',
  operationId: 'publishRawMessage',
  summary: 'Publish a body as it is, or a CloudEvent',
  description:
    'The body is kept byte for byte. CloudEvents 1.0 come in binary mode or as application/cloudevents+json.',
  tags: ['messages'],
  security: bearerSecurity,
  request: {
    params: z.object({ topic: topicName }),
    headers: rawHeaders,
    body: {
      required: false,
      content: {
        '*/*': { schema: { type: 'string', format: 'binary' } },
        'application/cloudevents+json': {
          schema: { type: 'object', required: ['specversion', 'id', 'source', 'type'] },
          example: {
            specversion: '1.0',
            id: 'A1',
            source: '/shop',
            type: 'order.created',
            data: { order: 4711 },
          },
        },
      },
    },
  },
  responses: { 202: accepted, ...publishProblems },
};

const readMessageDescription: Door['description'] = {
  method: 'get',
  path: '/v1/messages/{id}',
  operationId: 'readMessage',
  summary: 'Look a message up, with its timeline',
  tags: ['messages'],
  security: bearerSecurity,
  request: { params: z.object({ id: messageId }) },
  responses: {
    200: described('The message.', messageSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'not-found', 'internal', 'set-unavailable'),
  },
};
