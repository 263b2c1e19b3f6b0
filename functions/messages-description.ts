/** What the OpenAPI document says about the doors of messages. */
import { z } from 'zod';
import {
  contentTypeText,
  deliverAfterTime,
  deliverAtTime,
  expiresAfterTime,
  messageKey,
  messageLane,
  messageMode,
  messageTag,
  publishSchema,
  routeFallback,
  setName,
  topicName,
} from '../shared/message/draft-schema.ts';
import { messageId, messageSchema, publishedSchema } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { maxWaitSeconds } from './publish-context.ts';

export const publishProblems = describedProblems(
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
  'rate-limited',
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

export const requestHeaders = z.object({
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

export const publishJsonDescription: Door['description'] = {
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
  'Setway-Lane': messageLane.optional(),
  'Setway-Mode': messageMode.optional(),
  'Setway-Set': setName.optional(),
  'Setway-Route-Fallback': routeFallback.optional(),
  'Setway-Deliver-After': deliverAfterTime.optional(),
  'Setway-Deliver-At': deliverAtTime.optional(),
  'Setway-Expires-After': expiresAfterTime.optional(),
  'Setway-Retries': z.string().optional().meta({
    description: "Overrides the subscriptions' retries: waits, or an exponential schedule, and options.",
    example: '5s, 1m, 10m; attempts=5; timeout=2s',
  }),
  'Setway-Callback-Success': z
    .string()
    .optional()
    .meta({ description: 'A URL that is told when a delivery is done.' }),
  'Setway-Callback-Failure': z
    .string()
    .optional()
    .meta({ description: 'A URL that is told when a delivery has failed for good.' }),
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

export const publishRawDescription: Door['description'] = {
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

export const readMessageDescription: Door['description'] = {
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
