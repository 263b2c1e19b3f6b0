/**
 * Messages for consumers without a URL: pull, then ack, nack or extend.
 *
 * The messages of a subscription are in every SET where they were published. A pull asks all SETs at once, each for its
 * share of what is wanted, and those that had as much as that again for the rest; so a busy SET does not hide the others.
 * When nobody has anything it waits, leasing nothing, until a SET says that there is something: a wait that is given up
 * leaves no lease behind. A SET that does not answer is named in `incomplete`; what it may have leased comes again.
 */
import { Buffer } from 'node:buffer';
import type { z } from 'zod';
import { withinMs } from '../shared/deadline.ts';
import { parseDurationMs } from '../shared/duration.ts';
import { isJsonType } from '../shared/message/draft.ts';
import type { Message } from '../shared/message/message.ts';
import { Problem } from '../shared/problem.ts';
import type { DeliveryAnswer, AnswerEffect } from '../shared/sets/delivery-answer.ts';
import type { PulledMessage } from '../shared/sets/pull.ts';
import type { SetLink } from '../shared/sets/set-link.ts';
import type { DeliveryTry } from '../shared/webhook/delivery-id.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { readFailure, readLeaseMs } from './deliveries.ts';
import type { Door, Visit } from './door.ts';
import { readJson, readSmallBody } from './json-body.ts';
import {
  ackDescription,
  ackRequest,
  extendDescription,
  extendRequest,
  nackDescription,
  nackRequest,
  pullDescription,
  pullRequest,
} from './pull-description.ts';
import type { Services } from './services.ts';

const defaultMax = 10;
const maxWaitMs = 20_000;
/** Longer than one SET may take to lease and to read what it leased. */
const askMs = 8_000;

export function pullDoors(services: Services): readonly Door[] {
  return [
    pull(services),
    settle(services, ackDescription, ackRequest, () => ({ says: 'done' })),
    settle(services, nackDescription, nackRequest, readFailure),
    settle(services, extendDescription, extendRequest, ({ lease }) => ({
      says: 'extend',
      leaseMs: readLeaseMs(lease, '/lease'),
    })),
  ];
}

function pull(services: Services): Door {
  return {
    description: pullDescription,
    async open(visit) {
      const name = await pulledBy(services, visit);
      const { lease, max, wait } = readJson(await readSmallBody(visit.request), pullRequest);
      const waitMs = wait === undefined ? 0 : parseDurationMs(wait, { at: '/wait', maxMs: maxWaitMs });
      const asked = { subscription: name, leaseMs: readLeaseMs(lease, '/lease'), max: max ?? defaultMax };
      const { found, incomplete } = await pullWithin(services, asked, waitMs);
      const messages = found.map((each) => shown(services, name, each));
      return answerJson(200, { messages, incomplete });
    },
  };
}

/** The subscription that the path names. @throws Problem `not-found` when it is not the caller's, `conflict` when it is pushed */
async function pulledBy(services: Services, { request, parameter }: Visit): Promise<string> {
  const { owner } = await authenticate(request, 'consume', services);
  const name = parameter('name');
  const found = (await services.catalog.current()).subscriptions.get(name);
  if (found?.owner !== owner)
    throw new Problem('not-found', `There is no subscription "${name.slice(0, 128)}".`);
  if (found.kind === 'pull') return name;
  throw new Problem(
    'conflict',
    `The subscription "${name}" is of kind ${found.kind ?? 'webhook'}, not pull.`,
  );
}

type Found = PulledMessage & { readonly set: string };

interface Pulled {
  readonly found: readonly Found[];
  readonly incomplete: readonly string[];
}

interface Asked {
  readonly subscription: string;
  readonly leaseMs: number;
  readonly max: number;
}

async function pullWithin(services: Services, asked: Asked, waitMs: number): Promise<Pulled> {
  const endMs = services.clock.nowMs() + waitMs;
  for (;;) {
    const pulled = await pullShares(services, asked);
    const leftMs = endMs - services.clock.nowMs();
    if (pulled.found.length > 0 || leftMs <= 0) return pulled;
    if (!(await someMessage(services, asked.subscription, leftMs))) return pulled;
  }
}

/** Rounds of questions until there is enough, or nobody has more. */
async function pullShares(services: Services, asked: Asked): Promise<Pulled> {
  const found: Found[] = [];
  const incomplete = new Set<string>();
  let sets = shuffled([...(await services.catalog.current()).sets.keys()]);
  while (sets.length > 0 && found.length < asked.max) {
    const wanted = asked.max - found.length;
    const shares = sets.map((set, n) => ({
      set,
      max: Math.floor(wanted / sets.length) + (n < wanted % sets.length ? 1 : 0),
    }));
    const answers = await Promise.allSettled(
      shares.map(async ({ set, max }) => (max === 0 ? [] : askOne(services, set, { ...asked, max }))),
    );
    // Who had less than its share has no more; who was not asked may have some.
    sets = shares.flatMap(({ set, max }, n) => {
      const answer = answers[n];
      if (answer?.status !== 'fulfilled') {
        incomplete.add(set);
        refuseOwn(answer?.reason);
        return [];
      }
      found.push(...answer.value.map((each) => ({ ...each, set })));
      return answer.value.length < max ? [] : [set];
    });
  }
  return { found, incomplete: [...incomplete] };
}

function askOne({ clock, link }: Services, set: string, request: Asked): ReturnType<SetLink['pull']> {
  return withinMs(clock, askMs, link(set).pull(request));
}

/** What every SET would say alike is the answer. */
function refuseOwn(reason: unknown): void {
  if (reason instanceof Problem && reason.kind === 'conflict') throw reason;
}

/** Any order is as fair as another, as long as it is not always the same. */
function shuffled(sets: readonly string[]): readonly string[] {
  const at = Math.floor(Math.random() * sets.length);
  return [...sets.slice(at), ...sets.slice(0, at)];
}

/** Whether some SET has something within the time. */
async function someMessage(
  { catalog, clock, link }: Services,
  name: string,
  waitMs: number,
): Promise<boolean> {
  const sets = [...(await catalog.current()).sets.keys()];
  const told = sets.map(async (set) => {
    if (!(await withinMs(clock, waitMs + askMs, link(set).awaitMessages(name, waitMs)))) throw nothingCame;
  });
  return Promise.any(told).then(
    () => true,
    () => false,
  );
}

const nothingCame = new Problem('not-found', 'Nothing came.');

function shown({ deliveryIds }: Services, subscription: string, { message, attempt, set }: Found) {
  const { id, topic, tag, key, order, batch, contentType, headers, traceparent, replayOf } = message;
  return {
    delivery: attempt === 0 ? null : deliveryIds.write({ messageId: id, set, subscription, attempt }),
    id,
    topic,
    tag: tag ?? null,
    key: key ?? null,
    attempt: Math.max(1, attempt),
    set,
    contentType,
    headers,
    ...bodyOf(message),
    ...(order === undefined ? {} : { order: orderOf(order) }),
    ...(batch === undefined ? {} : { batch }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(replayOf === undefined ? {} : { replayOf }),
  };
}

function orderOf(order: NonNullable<Message['order']>) {
  if (order.kind === 'lane') return { lane: order.lane };
  const { session, sequence, size } = order;
  return { session, sequence, size };
}

/** JSON as it is, anything else in base64. What came as raw bytes under a JSON type may be no JSON. */
function bodyOf({
  body,
  contentType,
}: Message): { readonly body: unknown } | { readonly bodyBase64: string } {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (isJsonType(contentType)) {
    try {
      return {
        body: JSON.parse(
          new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes),
        ) as unknown,
      };
    } catch {
      // Not what its type says: the bytes are handed out as they are.
    }
  }
  return { bodyBase64: bytes.toString('base64') };
}

type Said = Omit<DeliveryAnswer, keyof DeliveryTry>;

function settle<Shape extends z.ZodRawShape & { readonly ids: z.ZodType<string[]> }>(
  services: Services,
  description: Door['description'],
  schema: z.ZodObject<Shape>,
  read: (body: z.infer<z.ZodObject<Shape>>) => Said,
): Door {
  return {
    description,
    async open(visit) {
      const name = await pulledBy(services, visit);
      const body = readJson(await readSmallBody(visit.request), schema);
      const said = read(body);
      const { ids } = body as { readonly ids: readonly string[] };
      const tries = ids.map((id) => ({ id, delivery: tryOf(services, name, id) }));
      const sets = [...new Set(tries.flatMap(({ delivery }) => delivery?.set ?? []))];
      const effects = await Promise.all(sets.map((set) => tell(services, set, { tries, said })));
      const effectOf = new Map(effects.flat());
      return answerJson(200, { results: ids.map((id) => ({ id, ...resultOf(effectOf.get(id)) })) });
    },
  };
}

function tryOf({ deliveryIds }: Services, name: string, id: string): DeliveryTry | undefined {
  try {
    const delivery = deliveryIds.read(id);
    return delivery.subscription === name ? delivery : undefined;
  } catch {
    return undefined; // told by its result, so that one bad id does not keep the others from being heard
  }
}

interface Telling {
  readonly tries: readonly { readonly id: string; readonly delivery: DeliveryTry | undefined }[];
  readonly said: Said;
}

type Effect = readonly [id: string, effect: AnswerEffect | 'unavailable'];

async function tell(services: Services, set: string, { tries, said }: Telling): Promise<readonly Effect[]> {
  const own = tries.flatMap(({ id, delivery }) => (delivery?.set === set ? [{ id, delivery }] : []));
  const answers = own.map(({ delivery: { messageId, subscription, attempt } }) => ({
    messageId,
    subscription,
    attempt,
    ...said,
  }));
  try {
    const effects = await withinMs(services.clock, askMs, services.link(set).answer(answers));
    return own.map(({ id }, n) => [id, effects[n] ?? 'unavailable']);
  } catch {
    return own.map(({ id }) => [id, 'unavailable']); // said in each result: say it again
  }
}

function resultOf(effect: AnswerEffect | 'unavailable' | undefined) {
  if (effect === undefined) return { outcome: 'unknown' };
  if (effect === 'unavailable') return { outcome: 'unavailable' };
  const { outcome, state, nextAttemptAt } = effect;
  const isSo = outcome === 'made' || outcome === 'was-so';
  return { outcome: isSo ? 'ok' : outcome, state: state ?? null, nextAttemptAt: nextAttemptAt ?? null };
}
