/** What the OpenAPI document says about redrives, and what they may be asked. */
import { z } from 'zod';
import { setName } from '../shared/message/draft-schema.ts';
import { messageId } from './answer-schemas.ts';
import { deadLetterFilter } from './dead-letters-description.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { subscriptionName } from './search-parameters.ts';

const ratePerSecond = z
  .number()
  .min(0.1, 'From 0.1 to 1000.')
  .max(1000, 'From 0.1 to 1000.')
  .optional()
  .meta({ description: 'Deliveries begun per second in each database; 50 without it.', example: 50 });

export const redriveRequest = z
  .strictObject({
    ids: z
      .array(messageId)
      .min(1, 'At least one.')
      .max(1000, 'At most 1000.')
      .optional()
      .meta({ description: 'All dead deliveries of these messages.' }),
    filter: deadLetterFilter.optional(),
    all: z.literal(true, 'Only true makes sense.').optional(),
    ratePerSecond,
  })
  .meta({ id: 'Redrive', description: 'Exactly one of ids, filter and all.' });

const instant = z.string().max(64);

export const replaySubscriptionRequest = z
  .strictObject({
    from: instant.meta({ description: 'Messages stored at or after.', example: '2026-01-31T10:00:00Z' }),
    to: instant.optional().meta({ description: 'Messages stored before; up to now without it.' }),
    ratePerSecond,
  })
  .meta({ id: 'ReplaySubscription' });

const redriveSchema = z
  .object({
    id: z.string().meta({ example: 'rdr_01h455vb4pex5vsknk084sn02q' }),
    state: z.enum(['running', 'done']),
    handled: z.int().meta({ description: 'Deliveries begun again so far.' }),
    ratePerSecond: z.number(),
    beganAt: z.iso.datetime(),
    endedAt: z.iso.datetime().nullable(),
    incomplete: z.array(setName).meta({
      description: 'SETs that did not answer. After a POST: repeat it with the same Idempotency-Key.',
    }),
  })
  .meta({ id: 'RedriveState' });

const idempotencyKey = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .optional()
    .meta({ description: 'A repeat with the same key goes on with the same redrive.', example: 'redrive-7' }),
});

const problems = describedProblems(
  'invalid-json',
  'unauthenticated',
  'forbidden',
  'too-large',
  'unsupported-media-type',
  'invalid-request',
  'key-reused',
  'internal',
  'set-unavailable',
);
const begun = described('Begun; it goes on in the background.', redriveSchema, {
  headers: { Location: 'Where its progress can be seen.' },
});

export const redriveDescription: Door['description'] = {
  method: 'post',
  path: '/v1/dead-letters/redrive',
  operationId: 'redriveDeadLetters',
  summary: 'Try dead letters again, with a fresh schedule',
  tags: ['dead letters'],
  security: bearerSecurity,
  request: {
    headers: idempotencyKey,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: redriveRequest,
          example: { filter: { subscription: 'receipt' }, ratePerSecond: 20 },
        },
      },
    },
  },
  responses: { 202: begun, ...problems },
};

export const replaySubscriptionDescription: Door['description'] = {
  method: 'post',
  path: '/v1/subscriptions/{name}/replay',
  operationId: 'replaySubscription',
  summary: 'Deliver to one subscription again what it hears, from a time on',
  description:
    'Every message is a new one with `replayOf`, because a guard would take the old id for a copy.',
  tags: ['dead letters'],
  security: bearerSecurity,
  request: {
    params: z.object({ name: subscriptionName }),
    headers: idempotencyKey,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: replaySubscriptionRequest,
          example: { from: '2026-01-31T10:00:00Z' },
        },
      },
    },
  },
  responses: { 202: begun, ...problems, ...describedProblems('not-found') },
};

export const readRedriveDescription: Door['description'] = {
  method: 'get',
  path: '/v1/redrives/{id}',
  operationId: 'readRedrive',
  summary: 'See how far a redrive is',
  tags: ['dead letters'],
  security: bearerSecurity,
  request: { params: z.object({ id: z.string() }) },
  responses: {
    200: described('Its progress over all SETs.', redriveSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'not-found', 'internal', 'set-unavailable'),
  },
};
