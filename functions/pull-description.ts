/** What the OpenAPI document says about pulling. */
import { z } from 'zod';
import { messageKey, messageTag, setName, topicName } from '../shared/message/draft-schema.ts';
import { deliveryState, instant, messageId } from './answer-schemas.ts';
import { extendRequest as extendOne, failedRequest, writtenDuration } from './deliveries-description.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { subscriptionName } from './search-parameters.ts';

export const pullRequest = z
  .strictObject({
    max: z
      .int('A whole number from 1 to 100.')
      .min(1, 'A whole number from 1 to 100.')
      .max(100, 'A whole number from 1 to 100.')
      .optional()
      .meta({ description: 'At most so many messages; 10 without it.', example: 10 }),
    wait: writtenDuration.optional().meta({
      description: 'How long to wait for a first message: at most 20 seconds; not at all without it.',
      example: '20s',
    }),
    lease: writtenDuration.optional().meta({
      description:
        'How long the messages are held: seconds, or as "10m", 1 second to 24 hours; 10 minutes without it.',
      example: '2m',
    }),
  })
  .meta({ id: 'Pull' });

const deliveryId = z.string().max(512);
const ids = z
  .array(deliveryId)
  .min(1, 'At least one.')
  .max(100, 'At most 100.')
  .meta({ description: 'The `delivery` of pulled messages.' });

export const ackRequest = z.strictObject({ ids }).meta({ id: 'PullAck' });
export const nackRequest = failedRequest.extend({ ids }).meta({ id: 'PullNack' });
export const extendRequest = extendOne.extend({ ids }).meta({ id: 'PullExtend' });

const pulledSchema = z
  .object({
    messages: z.array(
      z.object({
        delivery: deliveryId
          .nullable()
          .meta({ description: 'Names this try in ack, nack and extend; null for a `fast` message.' }),
        id: messageId,
        topic: topicName,
        tag: messageTag.nullable(),
        key: messageKey.nullable(),
        attempt: z.int().min(1),
        set: setName,
        contentType: z.string(),
        headers: z.record(z.string(), z.string()),
        body: z.unknown().optional().meta({ description: 'Of a message whose content is JSON.' }),
        bodyBase64: z.string().optional().meta({ description: 'Of any other.' }),
        order: z
          .object({
            lane: z.string().optional(),
            session: z.string().optional(),
            sequence: z.int().optional(),
            size: z.int().optional(),
          })
          .optional(),
        batch: z.object({ session: z.string(), size: z.int() }).optional(),
        traceparent: z.string().optional(),
        replayOf: messageId.optional(),
      }),
    ),
    incomplete: z
      .array(setName)
      .meta({ description: 'SETs that did not answer. What they may have handed out comes again.' }),
  })
  .meta({ id: 'Pulled' });

const settledSchema = z
  .object({
    results: z.array(
      z.object({
        id: deliveryId,
        outcome: z.enum(['ok', 'too-early', 'too-late', 'unknown', 'unavailable']).meta({
          description:
            'ok: it is so now, or was before. too-early, unavailable: say it again. too-late: somebody else has it by now, or it is decided otherwise. unknown: no delivery of this subscription.',
        }),
        state: deliveryState.nullable().optional(),
        nextAttemptAt: instant.nullable().optional(),
      }),
    ),
  })
  .meta({ id: 'PullSettled' });

interface Told {
  readonly operationId: string;
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly request: z.ZodType;
  readonly answer: ReturnType<typeof described>;
}

function descriptionOf({
  operationId,
  path,
  summary,
  description,
  request,
  answer,
}: Told): Door['description'] {
  return {
    method: 'post',
    path: `/v1/subscriptions/{name}/${path}`,
    operationId,
    summary,
    ...(description === undefined ? {} : { description }),
    tags: ['subscriptions'],
    security: bearerSecurity,
    request: {
      params: z.object({ name: subscriptionName }),
      body: { required: path !== 'pull', content: { 'application/json': { schema: request } } },
    },
    responses: {
      200: answer,
      ...describedProblems(
        'invalid-json',
        'unauthenticated',
        'forbidden',
        'not-found',
        'conflict',
        'too-large',
        'unsupported-media-type',
        'invalid-request',
        'internal',
      ),
    },
  };
}

const settled = described('What came of each, in order.', settledSchema);

export const pullDescription = descriptionOf({
  operationId: 'pullMessages',
  path: 'pull',
  summary: 'Take messages of a subscription of kind pull',
  description:
    'From all SETs alike. Each message is held for the puller until its lease ends; what is not acked by then comes again.',
  request: pullRequest,
  answer: described('The messages; none when none came within the wait.', pulledSchema),
});

export const ackDescription = descriptionOf({
  operationId: 'ackMessages',
  path: 'ack',
  summary: 'Say that pulled messages are done',
  request: ackRequest,
  answer: settled,
});

export const nackDescription = descriptionOf({
  operationId: 'nackMessages',
  path: 'nack',
  summary: 'Say that pulled messages failed',
  description: 'They come again by the schedule of the subscription, then they are dead letters.',
  request: nackRequest,
  answer: settled,
});

export const extendDescription = descriptionOf({
  operationId: 'extendMessages',
  path: 'extend',
  summary: 'Hold pulled messages longer',
  request: extendRequest,
  answer: settled,
});
