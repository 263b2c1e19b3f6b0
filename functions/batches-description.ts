/** What the OpenAPI document says about the door of batches. */
import { z } from 'zod';
import { batchSchema, maxBatchItems } from '../shared/message/batch-draft.ts';
import { batchType } from '../shared/message/batch.ts';
import { publishedSchema } from './answer-schemas.ts';
import { bearerSecurity, described } from './describe.ts';
import type { Door } from './door.ts';
import { publishProblems, requestHeaders } from './messages-description.ts';

const answerSchema = publishedSchema
  .extend({
    session: z.string().meta({ example: 'import-17' }),
    size: z.int().meta({ description: 'Items of the batch.', example: 2 }),
  })
  .meta({ id: 'PublishedBatch' });

export const batchDescription: Door['description'] = {
  method: 'post',
  path: '/v1/batches',
  operationId: 'publishBatch',
  summary: 'Publish many items as one message',
  description: `1 to ${maxBatchItems} items: stored all or none, one message of type ${batchType} in the broker, one webhook call with the array. The whole is bound like one message (1 MiB unless the deployment says otherwise) and is never split.`,
  tags: ['messages'],
  security: bearerSecurity,
  request: {
    headers: requestHeaders,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: batchSchema,
          example: {
            topic: 'orders',
            session: 'import-17',
            messages: [
              { id: 'line-1', body: { sku: 'tea', quantity: 2 } },
              { id: 'line-2', body: { sku: 'cup', quantity: 1 } },
            ],
          },
        },
      },
    },
  },
  responses: {
    202: described('Accepted: stored, all of it.', answerSchema, {
      headers: {
        Location: 'Where the message can be looked up.',
        'Preference-Applied': 'The wait that was applied, if one was asked for.',
      },
    }),
    ...publishProblems,
  },
};
