/** What the OpenAPI document says about dead letters, and what their list may be asked. */
import { z } from 'zod';
import type { MessageId } from '../shared/identifier.ts';
import { messageKey, messageTag, setName, topicName } from '../shared/message/draft-schema.ts';
import { messageId } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { cursorText, errorText, pageLimit, subscriptionName, times } from './search-parameters.ts';

export const deadLetterFilter = z.strictObject({
  subscription: subscriptionName.optional(),
  topic: topicName.optional(),
  ...times,
  error: errorText.optional(),
});

export const deadLettersQuery = deadLetterFilter.extend({
  limit: pageLimit.optional(),
  cursor: cursorText.optional(),
});

export const deathPosition = z.strictObject({
  at: z.string().regex(/^\d{1,17}$/),
  id: messageId.transform((id) => id as MessageId),
  s: subscriptionName,
});

const deadLettersSchema = z
  .object({
    deadLetters: z.array(
      z.object({
        id: messageId,
        topic: topicName,
        tag: messageTag.nullable(),
        key: messageKey.nullable(),
        subscription: z.string(),
        set: setName,
        attempts: z.int(),
        diedAt: z.iso.datetime(),
        status: z.int().nullable().meta({ description: 'Of the last attempt.' }),
        error: z.string().nullable(),
      }),
    ),
    next: z.string().optional().meta({ description: 'The cursor of the next page; absent at the end.' }),
    incomplete: z.array(setName).meta({ description: 'SETs that did not answer: their part is missing.' }),
  })
  .meta({ id: 'DeadLetters' });

export const deadLettersDescription: Door['description'] = {
  method: 'get',
  path: '/v1/dead-letters',
  operationId: 'listDeadLetters',
  summary: 'List dead letters, the newest death first',
  tags: ['dead letters'],
  security: bearerSecurity,
  request: { query: deadLettersQuery },
  responses: {
    200: described('A page; `next` is there when there is more.', deadLettersSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'invalid-request', 'internal'),
  },
};
