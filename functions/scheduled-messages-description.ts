/** What the OpenAPI document says about the doors of scheduled messages. */
import { z } from 'zod';
import { deliverAfterTime, deliverAtTime } from '../shared/message/draft-schema.ts';
import { instant, messageId, messageState } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';

export const moveSchema = z
  .strictObject({ deliverAfter: deliverAfterTime.optional(), deliverAt: deliverAtTime.optional() })
  .meta({ id: 'Move', description: 'Another time: exactly one of the two.' });

const changeSchema = z
  .object({ id: messageId, state: messageState, deliverAt: instant.nullable() })
  .meta({ id: 'Change', description: 'The message after the change.' });

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
