/** What the OpenAPI document says about the doors of transactions. */
import { z } from 'zod';
import { publishSchema, setName, topicName } from '../shared/message/draft-schema.ts';
import { messageId, publishedSchema } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { publishProblems, requestHeaders } from './messages-description.ts';

/** One database statement and one decision carry them all. */
const maxMessages = 100;

const transactionId = z
  .string()
  .regex(/^txn_[0-7][0-9a-hjkmnp-tv-z]{25}$/)
  .meta({ description: 'Transaction id.', example: 'txn_01h455vb4pex5vsknk084sn02q' });

/** What the door parses; each message is read like a publish. */
export const prepareSchema = z.strictObject({
  messages: z
    .array(z.unknown())
    .min(1, 'At least one message.')
    .max(maxMessages, `At most ${maxMessages} messages.`),
  checkUrl: z.string().max(2048, 'At most 2048 characters.').optional(),
  firstCheckAfter: z.union([z.number(), z.string()]).optional(),
});

export type PrepareRequest = z.infer<typeof prepareSchema>;

const { mode: _, ...fields } = publishSchema.shape;
const describedMessage = z
  .strictObject(fields)
  .meta({ id: 'HalfMessage', description: 'A message as it is published, without a mode.' });

const describedPrepare = z
  .strictObject({
    messages: z.array(describedMessage).min(1).max(maxMessages),
    checkUrl: z.string().max(2048).optional().meta({
      description:
        'Asked when no decision comes: a signed POST, answered {"state": "committed" | "rolled_back" | "unknown"}. The topic of the first message needs secrets.',
      example: 'https://bank.example.com/setway/check',
    }),
    firstCheckAfter: z
      .union([z.number(), z.string()])
      .optional()
      .meta({ description: 'Seconds or "10m": 1 s to 1 day, 6 s by default.', example: '30s' }),
  })
  .meta({ id: 'Prepare', description: 'Messages that are delivered only after a commit.' });

const state = z.enum(['prepared', 'committed', 'rolled_back', 'check_exhausted']).meta({
  description: 'check_exhausted: the producer was asked often enough; parked, and still decidable.',
  example: 'prepared',
});

const preparedSchema = publishedSchema
  .pick({ set: true, route: true, duplicate: true })
  .extend({ id: transactionId, state, messages: z.array(z.object({ id: messageId })) })
  .meta({ id: 'Prepared' });

const instant = z.iso.datetime().nullable();

const transactionSchema = z
  .object({
    id: transactionId,
    state,
    set: setName,
    messages: z.array(z.object({ id: messageId, topic: topicName, state: z.string() })),
    checkUrl: z.string().nullable(),
    checks: z.int().meta({ description: 'How often the producer was asked.' }),
    lastCheckAt: instant,
    lastCheck: z
      .string()
      .nullable()
      .meta({ description: 'What the last check brought that decided nothing.' }),
    nextCheckAt: instant,
    preparedAt: z.iso.datetime(),
    decidedAt: instant,
    decidedBy: z
      .string()
      .nullable()
      .meta({ description: 'producer: by this API; check: by an answer to a check.' }),
  })
  .meta({ id: 'Transaction' });

const example = {
  messages: [{ topic: 'payments', key: 'account-7', body: { transfer: 'tr-1', amount: 100 } }],
  checkUrl: 'https://bank.example.com/setway/check',
};

export const prepareDescription: Door['description'] = {
  method: 'post',
  path: '/v1/transactions',
  operationId: 'prepareTransaction',
  summary: 'Prepare messages that a commit delivers, or a rollback does not',
  tags: ['transactions'],
  security: bearerSecurity,
  request: {
    headers: requestHeaders.omit({ Prefer: true }),
    body: { required: true, content: { 'application/json': { schema: describedPrepare, example } } },
  },
  responses: {
    202: described('Prepared: stored, and seen by nobody yet.', preparedSchema, {
      headers: { Location: 'Where the transaction can be looked up.' },
    }),
    ...publishProblems,
    ...describedProblems('invalid-request', 'destination-refused', 'key-reused'),
  },
};

function decisionDescription(verb: 'commit' | 'rollback', summary: string): Door['description'] {
  return {
    method: 'post',
    path: `/v1/transactions/{id}/${verb}`,
    operationId: `${verb}Transaction`,
    summary,
    description: 'The first decision stands: repeating it is answered 200, the opposite 409.',
    tags: ['transactions'],
    security: bearerSecurity,
    request: { params: z.object({ id: transactionId }) },
    responses: {
      200: described('Decided so.', transactionSchema),
      ...describedProblems(
        'unauthenticated',
        'forbidden',
        'not-found',
        'conflict',
        'internal',
        'set-unavailable',
      ),
    },
  };
}

export const commitDescription = decisionDescription('commit', 'Deliver the messages');
export const rollbackDescription = decisionDescription('rollback', 'Never deliver the messages');

export const readTransactionDescription: Door['description'] = {
  method: 'get',
  path: '/v1/transactions/{id}',
  operationId: 'readTransaction',
  summary: 'Look a transaction up',
  tags: ['transactions'],
  security: bearerSecurity,
  request: { params: z.object({ id: transactionId }) },
  responses: {
    200: described('The transaction.', transactionSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'not-found', 'internal', 'set-unavailable'),
  },
};
