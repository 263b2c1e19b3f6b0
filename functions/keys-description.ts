/** What the OpenAPI document says about API keys. */
import { z } from 'zod';
import { publishLimit } from '../shared/catalog/name-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { pageQuery } from './topics-description.ts';

const scopes = z
  .array(z.enum(['publish', 'read', 'manage']))
  .min(1)
  .max(3);
const expiresAt = z.iso
  .datetime()
  .meta({ description: 'RFC 3339, in UTC. From then on the key is refused.' });

export const keyRequest = z
  .strictObject({
    scopes,
    maySetPlace: z.boolean().optional().meta({ description: 'May send coordinates of the publisher.' }),
    expiresAt: expiresAt.optional(),
    publishLimit: publishLimit.optional(),
  })
  .meta({ id: 'KeyRequest' });

export const keyPatch = z.strictObject({ expiresAt: expiresAt.nullable() });

const keySchema = z
  .object({
    id: z.string().meta({ description: 'The public part, between the first two underscores.' }),
    scopes,
    maySetPlace: z.boolean(),
    expiresAt: expiresAt.nullable(),
    revokedAt: z.iso.datetime().nullable(),
    publishLimit: publishLimit.optional(),
  })
  .meta({ id: 'Key' });

const shared = { tags: ['keys'], security: bearerSecurity };
const one = { ...shared, path: '/v1/keys/{id}', request: { params: z.object({ id: z.string() }) } };
const problems = ['unauthenticated', 'forbidden', 'internal'] as const;
const body = ['invalid-json', 'too-large', 'unsupported-media-type', 'invalid-request'] as const;
const changing = ['not-found', 'conflict', 'database-unavailable'] as const;

export const createKeyDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/keys',
  operationId: 'createKey',
  summary: 'Make an API key that may no more than the one that makes it',
  request: {
    body: {
      required: true,
      content: { 'application/json': { schema: keyRequest, example: { scopes: ['publish'] } } },
    },
  },
  responses: {
    201: described(
      'Made.',
      keySchema
        .extend({
          key: z.string().meta({ description: 'What the client sends: shown now and never again.' }),
        })
        .meta({ id: 'NewKey' }),
      { headers: { Location: 'Where it is.' } },
    ),
    ...describedProblems(...problems, ...body, 'conflict', 'database-unavailable'),
  },
};

export const listKeysDescription: Door['description'] = {
  ...shared,
  method: 'get',
  path: '/v1/keys',
  operationId: 'listKeys',
  summary: 'List API keys by id, never their secrets',
  request: { query: pageQuery },
  responses: {
    200: described(
      'A page; `next` is there when there is more.',
      z.object({ keys: z.array(keySchema), next: z.string().optional() }),
    ),
    ...describedProblems(...problems, 'invalid-request'),
  },
};

export const readKeyDescription: Door['description'] = {
  ...one,
  method: 'get',
  operationId: 'readKey',
  summary: 'See an API key',
  responses: { 200: described('The key.', keySchema), ...describedProblems(...problems, 'not-found') },
};

export const changeKeyDescription: Door['description'] = {
  ...one,
  method: 'patch',
  operationId: 'changeKey',
  summary: 'Let an API key expire, or expire no more',
  request: {
    ...one.request,
    body: {
      required: true,
      content: {
        'application/json': { schema: keyPatch, example: { expiresAt: '2027-01-01T00:00:00Z' } },
      },
    },
  },
  responses: {
    200: described('As it is now.', keySchema),
    ...describedProblems(...problems, ...body, ...changing),
  },
};

export const revokeKeyDescription: Door['description'] = {
  ...one,
  method: 'post',
  path: '/v1/keys/{id}/revoke',
  operationId: 'revokeKey',
  summary: 'Revoke an API key for good; it stays in the list',
  responses: { 200: described('Revoked.', keySchema), ...describedProblems(...problems, ...changing) },
};

export const deleteKeyDescription: Door['description'] = {
  ...one,
  method: 'delete',
  operationId: 'deleteKey',
  summary: 'Delete an API key: it is refused, and in no list any more',
  responses: { 200: described('As it was.', keySchema), ...describedProblems(...problems, ...changing) },
};
