/**
 * `POST /v1/messages/{id}/replay`: the content of a message once more, as a new message in the same SET. It needs a new
 * id, because a guard would take the old one for a copy that was handled already.
 */
import { z } from 'zod';
import type { Catalog } from '../shared/catalog/catalog.ts';
import { mintMessageId, originOf, parseMessageId } from '../shared/identifier.ts';
import { Problem } from '../shared/problem.ts';
import { claimOf, keyedId } from '../shared/publish/keyed.ts';
import { keyReused } from '../shared/publish/offer-in-turn.ts';
import type { PublishContext } from '../shared/publish/publisher.ts';
import type { ReplayRequest } from '../shared/sets/dead-letters.ts';
import type { MessageRecord, Receipt } from '../shared/sets/set-link.ts';
import { answerJson } from './answer.ts';
import { messageId } from './answer-schemas.ts';
import { authenticate } from './authenticate.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { findMessage } from './find-message.ts';
import { readJson, readSmallBody } from './json-body.ts';
import { publishContext } from './publish-context.ts';
import { subscriptionName } from './search-parameters.ts';
import type { Services } from './services.ts';

const replayRequest = z
  .strictObject({
    subscriptions: z
      .array(subscriptionName)
      .min(1, 'At least one; leave it out for all.')
      .max(100, 'At most 100.')
      .optional()
      .meta({ description: 'These only, past the broker; without it all that hear the message.' }),
  })
  .meta({ id: 'Replay' });

export function replayDoors(services: Services): readonly Door[] {
  return [
    {
      description,
      async open(visit) {
        const { request, parameter } = visit;
        const key = await authenticate(request, 'publish', services);
        const body = await readSmallBody(request);
        const { subscriptions } = readJson(body, replayRequest);
        const addBody = (hash: { update(data: Uint8Array): unknown }): void => void hash.update(body);
        const context = publishContext(services, { visit, key, addBody });
        const record = await findMessage(parseMessageId(parameter('id')), services);
        if (record?.owner !== key.owner)
          throw new Problem('not-found', `There is no message ${parameter('id')}.`);
        const catalog = await services.catalog.current();
        checkSubscriptions(catalog, record, subscriptions);
        const receipt = await services.link(record.set).replay({
          ...identityOf(services, { catalog, record, context }),
          original: record.id,
          owner: key.owner,
          ...(subscriptions === undefined ? {} : { subscriptions: [...new Set(subscriptions)] }),
        });
        if (receipt?.mismatch === true) throw keyReused();
        if (!receipt) throw new Problem('not-found', `There is no message ${record.id}.`);
        return answerReplayed(receipt, record);
      },
    },
  ];
}

function answerReplayed({ id, state, duplicate }: Receipt, record: MessageRecord) {
  return answerJson(
    202,
    {
      id,
      state: state === 'READY' ? 'stored' : state.toLowerCase(),
      set: record.set,
      replayOf: record.id,
      duplicate,
    },
    { location: `/v1/messages/${id}` },
  );
}

function checkSubscriptions(
  { subscriptions }: Catalog,
  { owner, topic }: MessageRecord,
  names: readonly string[] = [],
): void {
  const faults = names.flatMap((name, index) => {
    const found = subscriptions.get(name);
    if (found?.owner === owner && found.topic === topic) return [];
    return [{ at: `/subscriptions/${index}`, detail: `The topic "${topic}" has no subscription "${name}".` }];
  });
  const [first] = faults;
  if (first) throw new Problem('invalid-request', `${first.at}: ${first.detail}`, { faults });
}

interface Original {
  readonly catalog: Catalog;
  readonly record: MessageRecord;
  readonly context: PublishContext;
}

/** The new id names the SET and the database that keep the original; with an idempotency key it follows from the key. */
function identityOf(
  { clock }: Services,
  { catalog, record, context }: Original,
): Pick<ReplayRequest, 'id' | 'idempotency'> {
  const { shard, setNumber } = originOf(record.id);
  const origin = { shard, setNumber: catalog.sets.get(record.set)?.number ?? setNumber };
  if (!context.idempotency) return { id: mintMessageId(origin, clock.nowMs()) };
  const idempotency = claimOf(context.owner, context.idempotency);
  return { id: keyedId(idempotency, origin, clock.nowMs()), idempotency };
}

const description: Door['description'] = {
  method: 'post',
  path: '/v1/messages/{id}/replay',
  operationId: 'replayMessage',
  summary: 'Deliver the content of a message again, as a new message',
  tags: ['messages'],
  security: bearerSecurity,
  request: {
    params: z.object({ id: messageId }),
    headers: z.object({
      'Idempotency-Key': z
        .string()
        .regex(/^[\x21-\x7e]{1,255}$/)
        .optional()
        .meta({ description: 'Makes a retry safe: the same key replays once.', example: 'replay-4711' }),
    }),
    body: {
      required: false,
      content: { 'application/json': { schema: replayRequest, example: { subscriptions: ['receipt'] } } },
    },
  },
  responses: {
    202: described(
      'Stored as a new message.',
      z
        .object({
          id: messageId,
          state: z.string().meta({ description: 'stored, or what became of it when the key is known.' }),
          set: z.string(),
          replayOf: messageId,
          duplicate: z.boolean(),
        })
        .meta({ id: 'Replayed' }),
      { headers: { Location: 'Where the new message can be looked up.' } },
    ),
    ...describedProblems(
      'invalid-json',
      'unauthenticated',
      'forbidden',
      'not-found',
      'conflict',
      'too-large',
      'unsupported-media-type',
      'invalid-request',
      'key-reused',
      'internal',
      'set-unavailable',
    ),
  },
};
