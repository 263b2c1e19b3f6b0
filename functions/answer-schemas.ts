/** What answers look like, for the OpenAPI document. */
import { z } from 'zod';
import { messageKey, messageTag, setName, topicName } from '../shared/message/draft-schema.ts';
import {
  deliveryTransitions,
  messageTransitions,
  type DeliveryState,
  type MessageState,
} from '../shared/message/lifecycle.ts';
import type { PublishedState } from '../shared/publish/publisher.ts';

export const messageId = z
  .string()
  .regex(/^msg_[0-7][0-9a-hjkmnp-tv-z]{25}$/)
  .meta({ description: 'Message id.', example: 'msg_01h455vb4pex5vsknk084sn02q' });

export const instant = z.iso.datetime().meta({ example: '2026-01-31T10:00:00.000Z' });
const distanceKm = z
  .number()
  .meta({ description: 'From the publisher to the SET, in kilometres.', example: 164.2 });
const reason = z.string().meta({
  description:
    'The rule that chose the SET: explicit, pin, key, nearest, center; or spill (that SET is loaded), failover, fallback.',
  example: 'nearest',
});

export const messageStates = Object.keys(messageTransitions) as MessageState[];
const deliveryStates = Object.keys(deliveryTransitions) as DeliveryState[];
export const messageState = z.enum(messageStates);
export const deliveryState = z.enum(deliveryStates);

const publishedStates = [
  'stored',
  'scheduled',
  'prepared',
  'confirmed',
  'unroutable',
  'failed',
  'sent',
  'cancelled',
  'rolled_back',
  'check_exhausted',
] as const satisfies readonly PublishedState[];

export const publishedSchema = z
  .object({
    id: messageId,
    state: z.enum(publishedStates).meta({
      description:
        'stored: committed. scheduled: committed, due later. prepared: committed as a half message. confirmed, unroutable: what the broker said within Prefer: wait. sent: fast, handed to the broker. The others are met by retries only.',
      example: 'stored',
    }),
    set: setName,
    route: z.object({ reason, distanceKm: distanceKm.optional() }),
    duplicate: z
      .boolean()
      .meta({ description: 'The Idempotency-Key was known: this is the first answer.', example: false }),
  })
  .meta({ id: 'Published' });

const attemptSchema = z.object({
  attempt: z.int().min(1),
  at: instant,
  host: z.string(),
  status: z
    .int()
    .nullable()
    .meta({ description: 'HTTP status of the webhook, null when it did not answer.' }),
  outcome: deliveryState,
  durationMs: z.number(),
  error: z.string().nullable(),
});

const deliverySchema = z.object({
  subscription: z.string(),
  state: deliveryState,
  attempts: z.array(attemptSchema),
  nextAttemptAt: instant.nullable(),
});

const timelineEntrySchema = z.object({
  at: instant,
  change: z.string().meta({
    description: 'accepted, stored, scheduled, released, confirmed, unroutable, failed, attempt and others.',
    example: 'attempt',
  }),
  by: z.string().meta({ description: 'A host, an owner, or which part.' }),
  set: setName,
  detail: z.string().optional(),
  subscription: z.string().optional(),
  attempt: z.int().min(1).optional(),
  outcome: deliveryState.optional(),
  status: z.int().nullable().optional(),
  durationMs: z.number().optional(),
  error: z.string().nullable().optional(),
});

const sequence = z.int().min(1).nullable().meta({ description: 'Place in its session.' });

export const foundMessagesSchema = z
  .object({
    messages: z.array(
      z.object({
        id: messageId,
        topic: topicName,
        tag: messageTag.nullable(),
        key: messageKey.nullable(),
        lane: z.string().nullable(),
        session: z.string().nullable(),
        sequence,
        state: messageState,
        set: setName,
        size: z.int(),
        storedAt: instant,
        deliverAt: instant.nullable(),
        error: z.string().nullable(),
      }),
    ),
    next: z.string().optional().meta({ description: 'The cursor of the next page; absent at the end.' }),
    incomplete: z.array(setName).meta({ description: 'SETs that did not answer: their part is missing.' }),
  })
  .meta({ id: 'FoundMessages' });

export const messageSchema = z
  .object({
    id: messageId,
    topic: topicName,
    tag: messageTag.nullable(),
    key: messageKey.nullable(),
    state: messageState,
    set: setName,
    route: z.object({ reason, distanceKm: distanceKm.nullable() }),
    contentType: z.string(),
    size: z.int().meta({ description: 'Bytes of the body.' }),
    sendAttempts: z.int(),
    acceptedAt: instant,
    storedAt: instant,
    confirmedAt: instant.nullable(),
    lane: z.string().nullable(),
    session: z.string().nullable().meta({ description: 'Of a sequence or a batch.' }),
    sequence,
    batchSize: z.int().nullable().meta({ description: 'Items, when it is a batch.' }),
    transaction: z.string().nullable(),
    replayOf: messageId.nullable(),
    deliverAt: instant
      .nullable()
      .meta({ description: 'When a message that was given a time falls due, or fell due.' }),
    expiresAt: instant.nullable(),
    error: z.string().nullable(),
    timeline: z
      .array(timelineEntrySchema)
      .meta({ description: 'Every change and every attempt, in the order of time.' }),
    deliveries: z.array(deliverySchema).meta({ description: 'One per subscription that had an outcome.' }),
  })
  .meta({ id: 'Message', description: 'A message with everything that happened to it.' });

export const problemSchema = z
  .looseObject({
    type: z.string().meta({ example: '/problems/invalid-request' }),
    title: z.string().meta({ example: 'The request breaks a rule' }),
    status: z.int().meta({ example: 422 }),
    detail: z.string().meta({ example: '/topic: At most 128 bytes.' }),
    errors: z
      .array(z.object({ at: z.string(), detail: z.string() }))
      .optional()
      .meta({ description: 'Every fault: a JSON pointer, header or parameter, and the remedy.' }),
    traceId: z.string().optional().meta({ description: 'With 5xx: names the request in the log.' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457. The type resolves on this server.' });

const place = z.object({ latitude: z.number(), longitude: z.number() });
const health = z.enum(['up', 'down', 'unknown']);
const load = z.number().meta({
  description: 'Messages per second it takes, by its capacity; absent: nobody knows.',
  example: 0.42,
});

export const setListSchema = z
  .object({
    version: z.int().meta({ description: 'Version of the route table.' }),
    sets: z.array(
      z.object({
        id: setName,
        number: z.int(),
        kind: z.enum(['center', 'unit']),
        place,
        weight: z.number(),
        status: z.enum(['active', 'draining', 'fenced']),
        health,
        breaker: z
          .enum(['closed', 'open'])
          .meta({ description: 'open: this edge does not ask it for a while.' }),
        load: load.optional(),
        share: z
          .number()
          .optional()
          .meta({ description: 'Part of the traffic it is let in to; absent: all.' }),
      }),
    ),
  })
  .meta({ id: 'SetList' });

export const explanationSchema = z
  .object({
    version: z.int(),
    bucket: z.int().optional().meta({ description: 'Bucket of the key, 0 to 16383.' }),
    steps: z.array(z.object({ rule: z.string(), set: setName.optional(), says: z.string() })),
    candidates: z
      .array(
        z.object({
          set: setName,
          kind: z.enum(['center', 'unit']),
          reason,
          distanceKm: distanceKm.optional(),
          health,
          breaker: z.enum(['closed', 'open']),
          load: load.optional(),
          passedOver: z.number().optional().meta({
            description: 'The chance of a message that nothing binds to a SET to pass this one over.',
            example: 0.5,
          }),
        }),
      )
      .meta({ description: 'In the order of trying.' }),
    excluded: z.array(z.object({ set: setName, why: z.string() })),
  })
  .meta({ id: 'RouteExplanation' });
