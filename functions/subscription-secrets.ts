/**
 * The secrets of a subscription: a new one comes first, and the ones before go on signing for an overlap, so that a
 * receiver may learn the new one while both are good; and a try-out that shows whether it has.
 */
import { z } from 'zod';
import { parseDurationMs } from '../shared/duration.ts';
import { mintMessageId } from '../shared/identifier.ts';
import { Problem } from '../shared/problem.ts';
import { isPushed, type Subscription } from '../shared/subscriptions/subscription.ts';
import { liveSecrets } from '../shared/subscriptions/live-secrets.ts';
import type { SetDefinition } from '../shared/sets/set.ts';
import { createWebhookSecret, isSigningSecret } from '../shared/webhook/signature.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { readJson, readSmallBody } from './json-body.ts';
import type { Services } from './services.ts';
import { changeEntry } from './subscriptions.ts';

export function subscriptionSecretDoors(services: Services): readonly Door[] {
  return [rotate(services), tryOut(services)];
}

/** What a receiver may need to be deployed everywhere. */
const defaultOverlap = '24h';
const maxOverlapMs = 30 * 86_400_000;
/** As many as an entry may have. */
const maxSecrets = 5;

const rotateRequest = z
  .strictObject({
    secret: z
      .string()
      .refine(isSigningSecret, 'whsec_ and base64 of 24 to 64 bytes, or whsk_ and base64 of 32.')
      .optional()
      .meta({ description: 'The new one; made when it is left out.' }),
    overlap: z
      .union([z.string().max(32), z.number()])
      .optional()
      .meta({ description: 'How long the ones before go on signing: seconds or "2h". At most 30 days.' }),
  })
  .meta({ id: 'SecretRotation' });

function rotate(services: Services): Door {
  return {
    description: rotateDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const wanted = readJson(await readSmallBody(request), rotateRequest);
      const overlapMs = parseDurationMs(wanted.overlap ?? defaultOverlap, {
        at: '/overlap',
        maxMs: maxOverlapMs,
      });
      const secret = wanted.secret ?? createWebhookSecret();
      const nowMs = services.clock.nowMs();
      const meant = { name: parameter('name'), owner };
      const { retiring = [] } = await changeEntry(services, meant, (before) => {
        if (before.kind === 'amqp')
          throw new Problem('conflict', 'A native consumer is told nothing signed.');
        const live = liveSecrets(before, nowMs);
        // A repeat, whose answer was lost.
        if (live[0] === secret) return before;
        if (live.length >= maxSecrets)
          throw new Problem('conflict', `There are ${maxSecrets} secrets that sign: wait until one is over.`);
        const untilMs = live.map((each) => {
          const at = before.secrets.indexOf(each);
          return Math.min(nowMs + overlapMs, (at > 0 ? before.retiring?.[at - 1] : undefined) ?? Infinity);
        });
        return { ...before, secrets: [secret, ...live], retiring: untilMs };
      });
      const made = wanted.secret === undefined ? { secret } : {};
      return answerJson(200, { ...made, retiringUntil: retiring.map((ms) => new Date(ms).toISOString()) });
    },
  };
}

function tryOut(services: Services): Door {
  return {
    description: testDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const name = parameter('name');
      const { sets, subscriptions } = await services.catalog.current();
      const found = subscriptions.get(name);
      if (found?.owner !== owner) throw new Problem('not-found', `There is no subscription "${name}".`);
      if (!isPushed(found)) throw new Problem('conflict', 'Only a webhook can be called.');
      const set = [...sets.values()].find((each) => each.status === 'active' && services.isUsable(each.id));
      if (!set) throw new Problem('set-unavailable', 'No SET can call it now.', { retryAfterSeconds: 5 });
      const message = testMessage(found, set, services.clock.nowMs());
      const answer = await services.link(set.id).tryOut(name, message);
      if (!answer)
        throw new Problem('set-unavailable', 'That SET does not know it yet.', { retryAfterSeconds: 3 });
      const { status, error, durationMs, verdict } = answer;
      return answerJson(200, { verdict, status, error, durationMs, set: set.id, messageId: message.id });
    },
  };
}

function testMessage({ owner, topic }: Subscription, set: SetDefinition, acceptedAtMs: number) {
  return {
    id: mintMessageId({ setNumber: set.number, shard: 0 }, acceptedAtMs),
    owner,
    topic,
    mode: 'confirm',
    body: new TextEncoder().encode('{"test":true}'),
    contentType: 'application/json',
    headers: { 'setway-test': '1' },
    acceptedAtMs,
    placement: { set: set.id, reason: 'test' },
  } as const;
}

const shared = { method: 'post' as const, tags: ['subscriptions'], security: bearerSecurity };
const params = z.object({ name: z.string() });

const rotateDescription: Door['description'] = {
  ...shared,
  path: '/v1/subscriptions/{name}/rotate-secret',
  operationId: 'rotateSecret',
  summary: 'Sign with a new secret, and for an overlap with the ones before as well',
  request: {
    params,
    body: {
      required: false,
      content: { 'application/json': { schema: rotateRequest, example: { overlap: '24h' } } },
    },
  },
  responses: {
    200: described(
      'Rotated.',
      z.object({
        secret: z.string().optional().meta({ description: 'If it was made: shown now and never again.' }),
        retiringUntil: z.array(z.iso.datetime()).meta({ description: 'Of the ones before.' }),
      }),
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
      'internal',
      'database-unavailable',
    ),
  },
};

const testDescription: Door['description'] = {
  ...shared,
  path: '/v1/subscriptions/{name}/test',
  operationId: 'testSubscription',
  summary: 'Call the webhook once with a signed test message; nothing is stored',
  request: { params },
  responses: {
    200: described(
      'What came back.',
      z.object({
        verdict: z.string().meta({ description: 'What it would mean for a delivery.', example: 'done' }),
        status: z.int().nullable(),
        error: z.string().nullable(),
        durationMs: z.number(),
        set: z.string().meta({ description: 'Which SET called.' }),
        messageId: z.string(),
      }),
    ),
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
