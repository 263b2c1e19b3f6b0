/** What the OpenAPI document says about subscriptions. */
import { z } from 'zod';
import { secrets } from '../shared/catalog/name-schemas.ts';
import { subscriptionFields } from '../shared/catalog/subscription-schema.ts';
import { topicName } from '../shared/message/draft-schema.ts';
import { ifMatchHeader } from './catalog-resource.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { idempotencyHeader, pageQuery } from './topics-description.ts';

const request = subscriptionFields
  .omit({ owner: true, secrets: true })
  .extend({
    secrets: secrets
      .optional()
      .meta({ description: 'Of a webhook, the newest first; one is made when none is given.' }),
  })
  .meta({ id: 'SubscriptionRequest' });
const patch = subscriptionFields.omit({
  owner: true,
  secrets: true,
  name: true,
  topic: true,
  kind: true,
});

const subscriptionSchema = subscriptionFields
  .omit({ owner: true, secrets: true, headers: true })
  .extend({
    headerNames: z
      .array(z.string())
      .optional()
      .meta({ description: 'Headers of every call; their values are not shown.' }),
    publicKeys: z
      .array(z.string())
      .optional()
      .meta({ description: 'Verify the signatures `v1a`, one for each secret key (`whsk_`) it signs with.' }),
  })
  .meta({ id: 'Subscription' });

const madeSchema = subscriptionSchema
  .extend({
    secret: z
      .string()
      .optional()
      .meta({ description: 'The secret that was made for it: shown now and never again.' }),
  })
  .meta({ id: 'NewSubscription' });

export const subscriptionQuery = pageQuery.extend({ topic: topicName.optional() });
const stopSchema = z.object({ set: z.string(), reason: z.string(), at: z.iso.datetime() });
const shownSchema = subscriptionSchema
  .extend({
    status: z.enum(['active', 'paused', 'disabled']).meta({
      description: 'disabled: at least one SET has stopped it by itself; see `stopped`.',
    }),
    stopped: z.array(stopSchema).meta({ description: 'SETs that have stopped it by themselves, and why.' }),
    waiting: z
      .array(z.strictObject({ set: z.string(), breaker: z.enum(['open', 'probing']) }))
      .meta({ description: 'SETs of which a host leaves the webhook alone for a while, since it fails.' }),
    backlog: z.array(z.strictObject({ set: z.string(), ready: z.int().nullable() })).meta({
      description: 'Messages in its queues that nobody holds, per SET; null while the broker there is away.',
    }),
    incomplete: z.array(z.string()).meta({ description: 'SETs that did not answer.' }),
  })
  .meta({ id: 'SubscriptionState' });

export const pauseRequest = z
  .strictObject({ reason: subscriptionFields.shape.statusReason })
  .meta({ id: 'Pause' });

export const removalQuery = z.strictObject({
  discard: z.enum(['true', 'false']).optional().meta({
    description: 'true: its queues go with all they hold. Without it what they hold stays.',
  }),
});

const shared = { tags: ['subscriptions'], security: bearerSecurity };
const params = z.object({ name: z.string() });
const one = { ...shared, path: '/v1/subscriptions/{name}', request: { params } };
const headers = { ETag: 'Names this version.' };
const problems = ['unauthenticated', 'forbidden', 'internal'] as const;
const body = [
  'invalid-json',
  'too-large',
  'unsupported-media-type',
  'invalid-request',
  'destination-refused',
] as const;
const changing = [
  'not-found',
  'conflict',
  'precondition-failed',
  'precondition-required',
  'database-unavailable',
] as const;

const example = { name: 'mail', topic: 'orders', endpoint: { url: 'https://shop.example/mail' } };

export const createSubscriptionDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/subscriptions',
  operationId: 'createSubscription',
  summary: 'Create a subscription',
  request: {
    headers: idempotencyHeader,
    body: { required: true, content: { 'application/json': { schema: request, example } } },
  },
  responses: {
    201: described('Made.', madeSchema, { headers: { ...headers, Location: 'Where it is.' } }),
    ...describedProblems(...problems, ...body, 'not-found', 'conflict', 'key-reused', 'database-unavailable'),
  },
};

export const listSubscriptionsDescription: Door['description'] = {
  ...shared,
  method: 'get',
  path: '/v1/subscriptions',
  operationId: 'listSubscriptions',
  summary: 'List subscriptions by name',
  request: { query: subscriptionQuery },
  responses: {
    200: described(
      'A page; `next` is there when there is more.',
      z.object({ subscriptions: z.array(subscriptionSchema), next: z.string().optional() }),
    ),
    ...describedProblems(...problems, 'invalid-request'),
  },
};

export const readSubscriptionDescription: Door['description'] = {
  ...one,
  method: 'get',
  operationId: 'readSubscription',
  summary: 'See a subscription',
  responses: {
    200: described('The subscription.', shownSchema, { headers }),
    ...describedProblems(...problems, 'not-found'),
  },
};

export const changeSubscriptionDescription: Door['description'] = {
  ...one,
  method: 'patch',
  operationId: 'changeSubscription',
  summary: 'Change a subscription: given fields replace, null brings back the default',
  request: {
    params,
    headers: ifMatchHeader,
    body: {
      required: true,
      content: { 'application/json': { schema: patch.partial(), example: { bindings: ['eu.*'] } } },
    },
  },
  responses: {
    200: described('As it is now.', subscriptionSchema, { headers }),
    ...describedProblems(...problems, ...body, ...changing),
  },
};

export const deleteSubscriptionDescription: Door['description'] = {
  ...one,
  method: 'delete',
  operationId: 'deleteSubscription',
  summary: 'Delete a subscription; what waits in its queues stays there unless discarded',
  request: { params, headers: ifMatchHeader, query: removalQuery },
  responses: {
    200: described('As it was.', subscriptionSchema),
    ...describedProblems(...problems, 'invalid-request', ...changing),
  },
};

export const pauseSubscriptionDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/subscriptions/{name}/pause',
  operationId: 'pauseSubscription',
  summary: 'Pause a subscription: its messages wait in its queues',
  request: {
    params,
    body: {
      required: false,
      content: { 'application/json': { schema: pauseRequest, example: { reason: 'migration' } } },
    },
  },
  responses: {
    200: described('Paused.', shownSchema, { headers }),
    ...describedProblems(...problems, ...body, 'not-found', 'conflict', 'database-unavailable'),
  },
};

export const resumeSubscriptionDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/subscriptions/{name}/resume',
  operationId: 'resumeSubscription',
  summary: 'Resume a subscription that was paused, or that SETs have stopped by themselves',
  request: { params },
  responses: {
    200: described('Resumed.', shownSchema, { headers }),
    ...describedProblems(...problems, 'not-found', 'conflict', 'database-unavailable'),
  },
};
