/** What the OpenAPI document says about the control plane of SETs. */
import { z } from 'zod';
import { newSetSchema } from '../shared/fleet/create-set.ts';
import { setName } from '../shared/message/draft-schema.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';

export const setPatch = newSetSchema.pick({ drift: true }).extend({
  weight: z.number().min(0).max(1000).optional().meta({ description: '0: takes only what names it.' }),
  share: z.number().min(0.0001).max(1).optional().meta({
    description: 'Part of the traffic that nothing binds to it which it may get; 1: all.',
  }),
});

export const retireRequest = z.strictObject({
  shovelTo: setName.optional().meta({
    description: 'Sibling that gets what waits in its queues; without it, waiting messages refuse.',
  }),
});

export const takeOverRequest = z.strictObject({
  by: z.array(setName).min(1).max(100).optional().meta({
    description: 'Who gets it; without it, all that take new traffic, by their weights.',
  }),
  lanes: z.literal('open').optional().meta({
    description:
      'Of a SET whose database is away: they go on without what is left behind, whose order is given up. Without it they stay closed.',
  }),
});

const takenOver = z
  .object({
    set: setName,
    database: z.enum(['there', 'away']).meta({
      description:
        '`away`: it did not answer, and what it holds waits there: take over again when it is back.',
    }),
    moved: z.int().meta({ description: 'Messages that left it, or that others had copies of, now.' }),
    heir: setName.meta({ description: 'Who got what has no lane.' }),
  })
  .meta({ id: 'TakenOver' });

const lines = z.array(z.string());

const reportSchema = z
  .object({
    id: setName,
    number: z.int(),
    kind: z.enum(['center', 'unit']),
    status: z.enum(['active', 'draining', 'fenced']),
    weight: z.number(),
    capacity: z.int().optional().meta({ description: 'Messages per second.' }),
    rate: z.number().optional().meta({ description: 'Messages per second it takes.' }),
    load: z.number().optional().meta({ description: 'Rate by capacity: 1 is as much as it can take.' }),
    share: z.number().optional().meta({ description: 'Part of the traffic it is let in to; absent: all.' }),
    version: z.string().optional().meta({ description: 'Of its RabbitMQ.', example: '3.10.8' }),
    ailments: lines.meta({ description: 'What does not work now.' }),
    drift: lines.meta({ description: 'What `apply` would change.', example: ['+ queue setway.sub.mail'] }),
    left: lines.meta({ description: 'What it still holds.' }),
    links: lines.meta({ description: 'Federation links into it.' }),
  })
  .meta({ id: 'SetReport' });

const changesSchema = z.object({ set: setName, changes: lines }).meta({ id: 'SetChanges' });

const shared = { tags: ['sets'], security: bearerSecurity };
const one = { ...shared, request: { params: z.object({ id: z.string() }) } };
const problems = ['unauthenticated', 'forbidden', 'not-found', 'internal', 'database-unavailable'] as const;
const changing = ['conflict', 'invalid-settings', 'broker-unavailable', 'set-unavailable'] as const;
const body = ['invalid-json', 'too-large', 'unsupported-media-type', 'invalid-request'] as const;
const content = (schema: z.ZodType, example: object) => ({
  body: { required: true, content: { 'application/json': { schema, example } } },
});

export const createSetDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/sets',
  operationId: 'createSet',
  summary: 'Create a SET from an empty RabbitMQ and an empty database',
  request: content(newSetSchema.meta({ id: 'SetRequest' }), {
    id: 'tokyo',
    kind: 'unit',
    place: { latitude: 35.68, longitude: 139.65 },
    managementUrl: 'https://admin:password@rabbit.tokyo.example:15671',
    brokerUrls: ['amqps://rabbit.tokyo.example'],
    databaseUrls: ['postgres://setway:password@db.tokyo.example/setway'],
  }),
  responses: {
    201: described('It serves.', reportSchema, { headers: { Location: 'Where it is.' } }),
    ...describedProblems(...problems, ...body, ...changing),
  },
};

export const readSetDescription: Door['description'] = {
  ...one,
  method: 'get',
  path: '/v1/sets/{id}',
  operationId: 'readSet',
  summary: 'See how a SET is: what ails it, what drifted, what it holds',
  responses: { 200: described('How it is.', reportSchema), ...describedProblems(...problems) },
};

export const planSetDescription: Door['description'] = {
  ...one,
  method: 'get',
  path: '/v1/sets/{id}/plan',
  operationId: 'planSet',
  summary: 'See what apply would change: + added, ~ changed, - removed, ! only you can',
  responses: {
    200: described('Empty: it is as it should be.', changesSchema),
    ...describedProblems(...problems, ...changing),
  },
};

export const applySetDescription: Door['description'] = {
  ...one,
  method: 'post',
  path: '/v1/sets/{id}/apply',
  operationId: 'applySet',
  summary: 'Make a SET what it should be, as often as you like',
  responses: {
    200: described('What was changed.', changesSchema),
    ...describedProblems(...problems, ...changing),
  },
};

export const changeSetDescription: Door['description'] = {
  ...one,
  method: 'patch',
  path: '/v1/sets/{id}',
  operationId: 'changeSet',
  summary: 'Change the weight of a SET, or what happens to its drift',
  request: { ...one.request, ...content(setPatch, { share: 0.01 }) },
  responses: {
    200: described('How it is now.', reportSchema),
    ...describedProblems(...problems, ...body, ...changing),
  },
};

const meanings = {
  drain: 'Take no new messages; what it has goes on being delivered',
  activate: 'Take new messages again, by weight',
  fence: 'Take no new messages, and let its hosts do nothing more',
} as const;

export function moveSetDescription(action: keyof typeof meanings): Door['description'] {
  return {
    ...one,
    method: 'post',
    path: `/v1/sets/{id}/${action}`,
    operationId: `${action}Set`,
    summary: meanings[action],
    responses: {
      200: described('How it is now.', reportSchema),
      ...describedProblems(...problems, ...changing),
    },
  };
}

export const takeOverDescription: Door['description'] = {
  ...one,
  method: 'post',
  path: '/v1/sets/{id}/take-over',
  operationId: 'takeOverSet',
  summary: 'Fence a SET and move what it has not delivered to siblings; safe to repeat',
  request: {
    ...one.request,
    body: {
      required: false,
      content: { 'application/json': { schema: takeOverRequest, example: { by: ['frankfurt'] } } },
    },
  },
  responses: {
    200: described('Everything that could be moved is with others.', takenOver),
    ...describedProblems(...problems, ...body, ...changing),
  },
};

export const retireSetDescription: Door['description'] = {
  ...one,
  method: 'post',
  path: '/v1/sets/{id}/retire',
  operationId: 'retireSet',
  summary: 'Take a drained SET away; refused while anything would be lost',
  request: {
    ...one.request,
    body: {
      required: false,
      content: { 'application/json': { schema: retireRequest, example: { shovelTo: 'hangzhou' } } },
    },
  },
  responses: {
    200: described(
      'It is gone; its databases stay.',
      z.object({ id: setName, status: z.literal('retired') }),
    ),
    ...describedProblems(...problems, ...body, ...changing),
  },
};
