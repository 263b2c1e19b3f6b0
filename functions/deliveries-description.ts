/** What the OpenAPI document says about answering a delivery later. */
import { z } from 'zod';
import { deliveryState, instant, messageId } from './answer-schemas.ts';
import { described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { subscriptionName } from './search-parameters.ts';

export const writtenDuration = z.union([z.number(), z.string().max(64)]);

export const doneRequest = z.strictObject({}).meta({ id: 'DeliveryDone' });

export const failedRequest = z
  .strictObject({
    error: z.string().max(1024, 'At most 1024 characters.').optional().meta({
      description: 'Why, for the record.',
      example: 'The warehouse does not know this sku.',
    }),
    retry: z
      .literal('never', 'Only "never"; leave it out to try again.')
      .optional()
      .meta({ description: 'No try will help: a dead letter at once.' }),
    retryAfter: writtenDuration.optional().meta({
      description: 'Seconds, or as "10m", at most 30 days; without it by the schedule of the subscription.',
    }),
  })
  .meta({ id: 'DeliveryFailed' });

export const extendRequest = z
  .strictObject({
    lease: writtenDuration.optional().meta({
      description: 'From now: seconds, or as "10m", 1 second to 24 hours; 10 minutes without it.',
      example: '10m',
    }),
  })
  .meta({ id: 'DeliveryExtend' });

const answered = z
  .object({
    message: messageId,
    subscription: subscriptionName,
    state: deliveryState,
    nextAttemptAt: instant
      .nullable()
      .meta({ description: 'The next try; of a LEASED delivery, the end of its lease.' }),
  })
  .meta({ id: 'DeliveryAnswered' });

interface Told {
  readonly operationId: string;
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  readonly schema: z.ZodType;
}

function descriptionOf({ operationId, path, summary, description, schema }: Told): Door['description'] {
  return {
    method: 'post',
    path: `/v1/deliveries/{id}/${path}`,
    operationId,
    summary,
    description: `${description} The id is the right to do this; there is no API key.`,
    tags: ['deliveries'],
    request: {
      params: z.object({
        id: z.string().meta({ description: 'The `setway-delivery` of the call, or of the pulled message.' }),
      }),
      body: { required: false, content: { 'application/json': { schema } } },
    },
    responses: {
      200: described('It is so now, or was before.', answered),
      ...describedProblems(
        'invalid-json',
        'not-found',
        'in-flight',
        'conflict',
        'too-large',
        'unsupported-media-type',
        'invalid-request',
        'internal',
        'set-unavailable',
      ),
    },
  };
}

export const doneDescription = descriptionOf({
  operationId: 'finishDelivery',
  path: 'done',
  summary: 'Say that a delivery is done',
  description: 'True whenever it is said: after the lease too, and after a dead letter. Twice is fine.',
  schema: doneRequest,
});

export const failedDescription = descriptionOf({
  operationId: 'failDelivery',
  path: 'failed',
  summary: 'Say that a delivery failed',
  description:
    'It is tried again by the schedule. While the lease lasts; afterwards it decides nothing: 409.',
  schema: failedRequest,
});

export const extendDescription = descriptionOf({
  operationId: 'extendDelivery',
  path: 'extend',
  summary: 'Hold a delivery longer',
  description: 'As often as needed, while the lease lasts; afterwards 409.',
  schema: extendRequest,
});
