/**
 * What a consumer says of a delivery that it answers later. Whoever has the delivery's id may: it was handed to the
 * webhook alone, nobody can make one up, and it opens nothing else; so a consumer needs no API key of the owner.
 */
import type { z } from 'zod';
import { withinMs } from '../shared/deadline.ts';
import { parseDurationMs } from '../shared/duration.ts';
import { Problem } from '../shared/problem.ts';
import type { AnswerEffect, DeliveryAnswer } from '../shared/sets/delivery-answer.ts';
import type { DeliveryTry } from '../shared/webhook/delivery-id.ts';
import { defaultLeaseMs, maxLeaseMs, minLeaseMs } from '../shared/webhook/lease.ts';
import { answerJson } from './answer.ts';
import {
  doneDescription,
  doneRequest,
  extendDescription,
  extendRequest,
  failedDescription,
  failedRequest,
} from './deliveries-description.ts';
import type { Door } from './door.ts';
import { readJson, readSmallBody } from './json-body.ts';
import type { Services } from './services.ts';

/** Longer than a database may take for one statement. */
const answerMs = 4_000;
const maxRetryAfterMs = 30 * 86_400_000;

export function deliveryDoors(services: Services): readonly Door[] {
  return [
    door(services, doneDescription, doneRequest, () => ({ says: 'done' })),
    door(services, failedDescription, failedRequest, readFailure),
    door(services, extendDescription, extendRequest, ({ lease }) => ({
      says: 'extend',
      leaseMs: readLeaseMs(lease, '/lease'),
    })),
  ];
}

type Said = Omit<DeliveryAnswer, keyof DeliveryTry>;

/** @throws Problem `invalid-request` */
export function readFailure({ error, retry, retryAfter }: z.infer<typeof failedRequest>): Said {
  return {
    says: 'failed',
    ...(error === undefined ? {} : { error }),
    ...(retry === undefined ? {} : { retry }),
    ...(retryAfter === undefined
      ? {}
      : { retryAfterMs: parseDurationMs(retryAfter, { at: '/retryAfter', maxMs: maxRetryAfterMs }) }),
  };
}

/** @throws Problem `invalid-request` */
export function readLeaseMs(lease: string | number | undefined, at: string): number {
  if (lease === undefined) return defaultLeaseMs;
  const ms = parseDurationMs(lease, { at, maxMs: maxLeaseMs });
  if (ms >= minLeaseMs) return ms;
  throw new Problem('invalid-request', `${at}: At least 1 second.`, {
    faults: [{ at, detail: 'At least 1 second.' }],
  });
}

function door<Shape extends z.ZodRawShape>(
  services: Services,
  description: Door['description'],
  schema: z.ZodObject<Shape>,
  read: (body: z.infer<z.ZodObject<Shape>>) => Said,
): Door {
  return {
    description,
    async open({ request, parameter }) {
      const { set, ...delivery } = services.deliveryIds.read(parameter('id'));
      const said = read(readJson(await readSmallBody(request), schema));
      await refuseUnknown(services, delivery.subscription);
      const asked = services.link(set).answer([{ ...delivery, ...said }]);
      const [effect] = await withinMs(services.clock, answerMs, asked);
      if (!effect) throw new Problem('internal', 'A SET gave no answer.');
      refuseLate(effect);
      const { state, nextAttemptAt } = effect;
      const { messageId, subscription } = delivery;
      return answerJson(200, {
        message: messageId,
        subscription,
        state,
        nextAttemptAt: nextAttemptAt ?? null,
      });
    },
  };
}

async function refuseUnknown({ catalog }: Services, subscription: string): Promise<void> {
  if ((await catalog.current()).subscriptions.has(subscription)) return;
  throw new Problem('not-found', 'The subscription of this delivery was removed.');
}

function refuseLate({ outcome, state }: AnswerEffect): void {
  if (outcome === 'too-early')
    throw new Problem('in-flight', 'The lease of this delivery is not written yet. Ask again.', {
      retryAfterSeconds: 1,
    });
  if (outcome === 'too-late')
    throw new Problem('conflict', `The delivery is ${state ?? 'unknown'}: this decides nothing any more.`);
}
