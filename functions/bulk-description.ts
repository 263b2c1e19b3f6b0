/** What the OpenAPI document says about the bulk door. */
import { z } from 'zod';
import { publishSchema } from '../shared/message/draft-schema.ts';
import { problemSchema, publishedSchema } from './answer-schemas.ts';
import { bearerSecurity, described } from './describe.ts';
import type { Door } from './door.ts';
import { publishProblems, requestHeaders } from './messages-description.ts';

/** More in one request would only wait for each other: a group commit gains nothing beyond a few hundred. */
export const maxBulkMessages = 1000;

/** NDJSON has two names and no registration. */
export const bulkTypes = ['application/json', 'application/x-ndjson', 'application/jsonl'] as const;

const resultSchema = z
  .union([
    publishedSchema.extend({ status: z.literal(202) }),
    z.object({ status: z.int().meta({ example: 422 }), problem: problemSchema }),
  ])
  .meta({ id: 'BulkResult' });

const bulkResultsSchema = z
  .object({
    results: z.array(resultSchema).meta({ description: 'One per message, in the order of the request.' }),
  })
  .meta({ id: 'BulkResults' });

const example = [
  { topic: 'orders', key: 'user-42', body: { order: 4711 } },
  { topic: 'orders', key: 'user-43', body: { order: 4712 }, deliverAfter: '10m' },
];
const lines = {
  schema: { type: 'string' as const },
  example: example.map((message) => JSON.stringify(message)).join('\n'),
};

export const bulkDescription: Door['description'] = {
  method: 'post',
  path: '/v1/messages/bulk',
  operationId: 'publishBulk',
  summary: 'Publish many independent messages',
  description: `A JSON array, or one message per line; 1 to ${maxBulkMessages} messages, 8 MiB unless the deployment says otherwise. Each message stands for itself: one that breaks a rule gets its own problem, the others are published. 202 says that the results are inside; look at each status.`,
  tags: ['messages'],
  security: bearerSecurity,
  request: {
    headers: requestHeaders,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: z.array(publishSchema).min(1).max(maxBulkMessages),
          example,
        },
        'application/x-ndjson': lines,
        'application/jsonl': lines,
      },
    },
  },
  responses: {
    202: described('A result per message.', bulkResultsSchema, {
      headers: { 'Preference-Applied': 'The wait that was applied, if one was asked for.' },
    }),
    ...publishProblems,
  },
};
