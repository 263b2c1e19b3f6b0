/** What the OpenAPI document says about pins. */
import { z } from 'zod';
import { messageKey, setName, topicName } from '../shared/message/draft-schema.ts';
import { ifMatchHeader } from './catalog-resource.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';

export const pinRequest = z
  .strictObject({ set: setName.meta({ description: 'Where messages with the key go.' }) })
  .meta({ id: 'PinRequest' });

/** Of keys that are to be pinned; what is pinned already may be older than the rule. */
export const pinnedKey = z.strictObject({ key: messageKey });

const pinSchema = z
  .object({
    topic: z.string().optional().meta({ description: 'Absent: it holds in all topics.' }),
    key: z.string(),
    set: setName,
  })
  .meta({ id: 'Pin' });

/** In the query, for paths have no escapes and a key may have any visible character. */
export const pinQuery = z.strictObject({
  topic: topicName.optional().meta({ description: 'Without it: the pin of all topics.', example: 'orders' }),
  key: z.string().min(1).max(255).meta({ example: 'user-42' }),
});

const one = {
  path: '/v1/routes/pins',
  tags: ['sets'],
  security: bearerSecurity,
  request: { query: pinQuery },
};
const problems = [
  'unauthenticated',
  'forbidden',
  'not-found',
  'invalid-request',
  'internal',
  'database-unavailable',
] as const;
const changing = ['precondition-failed', 'precondition-required', 'conflict', 'set-unavailable'] as const;
const headers = { ETag: 'Its version.' };

export const readPinDescription: Door['description'] = {
  ...one,
  method: 'get',
  operationId: 'readPin',
  summary: 'See where a key is pinned to',
  responses: { 200: described('The pin.', pinSchema, { headers }), ...describedProblems(...problems) },
};

export const putPinDescription: Door['description'] = {
  ...one,
  method: 'put',
  operationId: 'putPin',
  summary: 'Pin a key to a SET; one that is pinned to another goes on with If-Match',
  request: {
    ...one.request,
    headers: ifMatchHeader.partial(),
    body: {
      required: true,
      content: { 'application/json': { schema: pinRequest, example: { set: 'hangzhou' } } },
    },
  },
  responses: {
    200: described('It was pinned before.', pinSchema, { headers }),
    201: described('It is pinned now.', pinSchema, { headers }),
    ...describedProblems(...problems, ...changing, 'invalid-json', 'too-large', 'unsupported-media-type'),
  },
};

export const removePinDescription: Door['description'] = {
  ...one,
  method: 'delete',
  operationId: 'removePin',
  summary: 'Take a pin away: the key goes by the other rules of its topics',
  request: { ...one.request, headers: ifMatchHeader },
  responses: {
    200: described('As it was.', pinSchema),
    ...describedProblems(...problems, ...changing),
  },
};
