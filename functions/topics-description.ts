/** What the OpenAPI document says about topics. */
import { z } from 'zod';
import { topic } from '../shared/catalog/topic-schema.ts';
import { ifMatchHeader } from './catalog-resource.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { cursorText, pageLimit } from './search-parameters.ts';

export const topicRequest = topic.omit({ owner: true });
const topicBody = topicRequest.meta({ id: 'TopicRequest' });

const topicSchema = topicRequest.omit({ secrets: true }).meta({ id: 'Topic' });

export const idempotencyHeader = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .optional()
    .meta({ description: 'A repeat with the same key is answered as the first time.' }),
});

export const pageQuery = z.strictObject({ limit: pageLimit.optional(), cursor: cursorText.optional() });

const shared = { tags: ['topics'], security: bearerSecurity };
const one = { ...shared, path: '/v1/topics/{name}', request: { params: z.object({ name: z.string() }) } };
const headers = { ETag: 'Names this version.' };
const problems = ['unauthenticated', 'forbidden', 'internal'] as const;
const body = ['invalid-json', 'too-large', 'unsupported-media-type', 'invalid-request'] as const;
const changing = [
  'not-found',
  'conflict',
  'precondition-failed',
  'precondition-required',
  'database-unavailable',
] as const;

export const createTopicDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/topics',
  operationId: 'createTopic',
  summary: 'Create a topic',
  request: {
    headers: idempotencyHeader,
    body: {
      required: true,
      content: { 'application/json': { schema: topicBody, example: { name: 'orders', type: 'topic' } } },
    },
  },
  responses: {
    201: described('Made.', topicSchema, { headers: { ...headers, Location: 'Where it is.' } }),
    ...describedProblems(...problems, ...body, 'conflict', 'key-reused', 'database-unavailable'),
  },
};

export const listTopicsDescription: Door['description'] = {
  ...shared,
  method: 'get',
  path: '/v1/topics',
  operationId: 'listTopics',
  summary: 'List topics by name',
  request: { query: pageQuery },
  responses: {
    200: described(
      'A page; `next` is there when there is more.',
      z.object({ topics: z.array(topicSchema), next: z.string().optional() }),
    ),
    ...describedProblems(...problems, 'invalid-request'),
  },
};

export const readTopicDescription: Door['description'] = {
  ...one,
  method: 'get',
  operationId: 'readTopic',
  summary: 'See a topic',
  responses: {
    200: described('The topic.', topicSchema, { headers }),
    ...describedProblems(...problems, 'not-found'),
  },
};

export const changeTopicDescription: Door['description'] = {
  ...one,
  method: 'patch',
  operationId: 'changeTopic',
  summary: 'Change a topic: given fields replace, null brings back the default',
  request: {
    ...one.request,
    headers: ifMatchHeader,
    body: {
      required: true,
      content: { 'application/json': { schema: topicRequest.partial(), example: { scope: 'center' } } },
    },
  },
  responses: {
    200: described('As it is now.', topicSchema, { headers }),
    ...describedProblems(...problems, ...body, ...changing),
  },
};

export const deleteTopicDescription: Door['description'] = {
  ...one,
  method: 'delete',
  operationId: 'deleteTopic',
  summary: 'Delete a topic without subscriptions',
  request: { ...one.request, headers: ifMatchHeader },
  responses: {
    200: described('As it was.', topicSchema),
    ...describedProblems(...problems, ...changing),
  },
};
