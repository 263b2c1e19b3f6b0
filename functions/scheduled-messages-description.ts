/** What the OpenAPI document says about the doors of scheduled messages. */
import { z } from 'zod';
import {
  deliverAfterTime,
  deliverAtTime,
  messageKey,
  messageTag,
  setName,
  topicName,
} from '../shared/message/draft-schema.ts';
import { instant, messageId, messageStates } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';

const maxPage = 1000;
const defaultPage = 100;

export const listQuery = z.strictObject({
  state: z
    .string()
    .regex(/^scheduled$/i, 'The list of messages that wait for their time: "scheduled".')
    .meta({ description: 'Messages that wait for their time.', example: 'scheduled' }),
  limit: z
    .string()
    .regex(/^\d{1,4}$/, `A whole number from 1 to ${maxPage}.`)
    .transform(Number)
    .pipe(z.number().min(1).max(maxPage))
    .prefault(String(defaultPage))
    .meta({ description: `Messages of a page, 1 to ${maxPage}; ${defaultPage} by default.`, example: '100' }),
  cursor: z.string().max(200).optional().meta({ description: 'What the former page says in "next".' }),
});

export const moveSchema = z
  .strictObject({ deliverAfter: deliverAfterTime.optional(), deliverAt: deliverAtTime.optional() })
  .meta({ id: 'Move', description: 'Another time: exactly one of the two.' });

const scheduledSchema = z.object({
  id: messageId,
  topic: topicName,
  tag: messageTag.nullable(),
  key: messageKey.nullable(),
  state: z.literal('SCHEDULED'),
  set: setName,
  size: z.int(),
  deliverAt: instant,
  expiresAt: instant.nullable(),
  acceptedAt: instant,
});

const pageSchema = z
  .object({
    messages: z.array(scheduledSchema).meta({ description: 'In the order they fall due.' }),
    next: z.string().optional().meta({ description: 'Cursor of the next page; absent at the end.' }),
    incomplete: z
      .array(setName)
      .meta({ description: 'SETs that did not answer: their messages are missing here.' }),
  })
  .meta({ id: 'ScheduledMessages' });

const changeSchema = z
  .object({ id: messageId, state: z.enum(messageStates), deliverAt: instant.nullable() })
  .meta({ id: 'Change', description: 'The message after the change.' });

export const listDescription: Door['description'] = {
  method: 'get',
  path: '/v1/messages',
  operationId: 'listMessages',
  summary: 'List scheduled messages in the order they fall due',
  tags: ['messages'],
  security: bearerSecurity,
  request: { query: listQuery },
  responses: {
    200: described('One page.', pageSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'invalid-request', 'internal'),
  },
};

const changeProblems = [
  'unauthenticated',
  'forbidden',
  'not-found',
  'conflict',
  'internal',
  'set-unavailable',
] as const;

export const cancelDescription: Door['description'] = {
  method: 'delete',
  path: '/v1/messages/{id}',
  operationId: 'cancelMessage',
  summary: 'Cancel a scheduled message',
  description: 'Answered the same when it is cancelled already; 409 when it was released first.',
  tags: ['messages'],
  security: bearerSecurity,
  request: { params: z.object({ id: messageId }) },
  responses: { 200: described('It is cancelled.', changeSchema), ...describedProblems(...changeProblems) },
};

export const moveDescription: Door['description'] = {
  method: 'patch',
  path: '/v1/messages/{id}',
  operationId: 'moveMessage',
  summary: 'Give a scheduled message another time',
  description: 'Earlier or later; an instant in the past means at once. 409 when it was released first.',
  tags: ['messages'],
  security: bearerSecurity,
  request: {
    params: z.object({ id: messageId }),
    body: {
      required: true,
      content: { 'application/json': { schema: moveSchema, example: { deliverAfter: '30m' } } },
    },
  },
  responses: {
    200: described('It has the new time.', changeSchema),
    ...describedProblems(
      'invalid-json',
      'request-timeout',
      'too-large',
      'unsupported-media-type',
      'invalid-request',
      ...changeProblems,
    ),
  },
};
