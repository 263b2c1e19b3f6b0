/** What the OpenAPI document says about the doors of sequences. */
import { z } from 'zod';
import { sessionName, setName, topicName } from '../shared/message/draft-schema.ts';
import { sequenceSchema } from '../shared/message/sequence-draft.ts';
import { deliveryState, messageId, messageState, publishedSchema } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { publishProblems, requestHeaders } from './messages-description.ts';

const place = z.int().min(1).meta({ description: 'Its place in the order.', example: 1 });

const acceptedSchema = publishedSchema
  .omit({ id: true })
  .extend({
    session: sessionName,
    size: z.int(),
    messages: z.array(z.object({ sequence: place, id: messageId })),
  })
  .meta({ id: 'AcceptedSequence' });

const sequenceStateSchema = z
  .object({
    session: sessionName,
    topic: topicName,
    set: setName,
    size: z.int(),
    messages: z.array(z.object({ sequence: place, id: messageId, state: messageState })),
    subscriptions: z.array(
      z.object({
        subscription: z.string(),
        state: z.enum(['GATHERING', 'ASKED', 'DELIVERING', 'BLOCKED', 'DONE', 'ABORTED']).meta({
          description:
            'GATHERING until all have arrived; ASKED: what is missing was sent again; BLOCKED at a gap; DONE: every item is decided; ABORTED: so, and the rest behind a gap was given up.',
        }),
        arrived: z.int(),
        deliveries: z
          .partialRecord(deliveryState, z.int())
          .meta({ description: 'Items by the state of their delivery; those without one wait.' }),
        missing: z.array(z.int()).meta({ description: 'Numbers of the items that have not arrived.' }),
        deadlineAt: z.iso.datetime().nullable(),
      }),
    ),
  })
  .meta({ id: 'SequenceState' });

export const publishSequenceDescription: Door['description'] = {
  method: 'post',
  path: '/v1/sequences',
  operationId: 'publishSequence',
  summary: 'Publish messages to be delivered one after the other',
  description:
    'All are stored or none. Each subscription gathers them and delivers each after the success of the one before; a subscription with "ordered": "together" gets them as one array. The session names the sequence; use one once.',
  tags: ['sequences'],
  security: bearerSecurity,
  request: {
    headers: requestHeaders,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: sequenceSchema,
          example: {
            topic: 'orders',
            key: 'user-42',
            messages: [
              { body: { step: 'reserve' } },
              { body: { step: 'charge' } },
              { body: { step: 'ship' } },
            ],
            deadline: '10m',
            onGap: 'block',
          },
        },
      },
    },
  },
  responses: {
    202: described('Accepted: all are stored.', acceptedSchema, {
      headers: {
        Location: 'Where the sequence can be looked up.',
        'Preference-Applied': 'The wait that was applied, if one was asked for.',
      },
    }),
    ...publishProblems,
  },
};

export const readSequenceDescription: Door['description'] = {
  method: 'get',
  path: '/v1/sequences/{session}',
  operationId: 'readSequence',
  summary: 'How far a sequence is',
  tags: ['sequences'],
  security: bearerSecurity,
  request: { params: z.object({ session: sessionName }) },
  responses: {
    200: described('The sequence.', sequenceStateSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'not-found', 'internal', 'set-unavailable'),
  },
};
