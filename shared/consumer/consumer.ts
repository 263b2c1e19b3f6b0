/**
 * A consumer's webhook: at least once in, one effect out.
 *
 *   POST → body within the limit?    no → 413
 *        → signature right?          no → 401
 *        → reserve idem:<subscription>:<webhook-id> with the SHA-256 of the body
 *            duplicate → 200, setway-duplicate: 1       in flight → 409, Retry-After
 *            mismatch  → 422, setway-non-retryable: 1   guard gone → 503, Retry-After: never processed anyway
 *        → run the handler, the lease renewed at a third
 *            returns → complete → 200
 *            returns `answerLater` → the lease goes on → 202, setway-async: 1
 *            throws  → release → 500, the detail kept back; NonRetryable → 422, setway-non-retryable: 1
 *
 * An array of messages runs the handler once per message, one after the other, each with its own reservation; the answer
 * is 200 and names those that failed (shared/message/array.ts).
 *
 * A handler that returned has had its effect, so the answer is 200 even if the done marker could not be written: a 5xx
 * would ask for the effect again. The marker is tried again behind the answer for as long as the lease keeps copies
 * away. What is left is a guard that stays away longer, and then a copy; `once` closes that too.
 */
import { systemClock, type Clock } from '../clock.ts';
import type { Guard, Reservation } from '../idempotency/guard.ts';
import { asProblem, Problem } from '../problem.ts';
import type { WebhookMethod } from '../subscriptions/delivery-policy.ts';
import { isWebhookSecret, verifyWebhook } from '../webhook/signature.ts';
import type { Later } from './later.ts';
import { keepLease } from './lease.ts';
import { NonRetryable } from './non-retryable.ts';
import { arrayItems, runArray } from './array.ts';
import { readBody } from './request-body.ts';
import {
  answerAccepted,
  answerDone,
  answerRefusal,
  neverRetry,
  retryAfter,
  type Refusal,
} from './webhook-answer.ts';
import type { WebhookHandler, WebhookResult } from './webhook-handler.ts';
import { toWebhookMessage, type WebhookMessage } from './webhook-message.ts';

export { answerLater, deliveriesOf } from './later.ts';
export type { Deliveries, DeliveriesOptions, Later } from './later.ts';
export { NonRetryable } from './non-retryable.ts';
export type { StandardSchema } from './standard-schema.ts';
export { topics, typed } from './topics.ts';
export type { TypedHandler } from './topics.ts';
export type { WebhookContext, WebhookHandler, WebhookResult } from './webhook-handler.ts';
export type { WebhookItem, WebhookMessage } from './webhook-message.ts';

export interface WebhookOptions {
  /** Secrets (`whsec_…`) or public keys (`whpk_…`); several during a rotation. */
  readonly secrets: readonly string[];
  /** The consumer group this handler serves; part of the guard's key. */
  readonly subscription: string;
  /** `handler`: it guards itself by a unique row in its own transaction (`once`), and returns what that said. */
  readonly guard: Guard | 'handler';
  /** How long a crashed handler blocks its message. Default 30 s. */
  readonly leaseMs?: number;
  /** How long a copy is known as one: above the longest retry schedule and any replay. Default 7 days. */
  readonly doneTtlMs?: number;
  /** After this the lease is no longer renewed and the signal fires. Default 15 min. */
  readonly maxRunMs?: number;
  /** Default 1 MiB. */
  readonly maxBodyBytes?: number;
  readonly clock?: Clock;
  /** Keeps work alive beyond the answer where the platform would end it: Cloudflare's `waitUntil`. */
  readonly inBackground?: (work: Promise<unknown>) => void;
  /** Told what no answer shows: why a handler failed, which done marker could not be written. For your log. */
  readonly onFault?: (fault: WebhookFault) => void;
}

export interface WebhookFault {
  readonly during: 'reserve' | 'handler' | 'complete' | 'release';
  readonly messageId: string;
  readonly error: unknown;
}

type Settings = Required<Omit<WebhookOptions, 'guard'>>;

const defaults = {
  leaseMs: 30_000,
  doneTtlMs: 7 * 24 * 60 * 60 * 1000,
  maxRunMs: 15 * 60 * 1000,
  maxBodyBytes: 1024 * 1024,
  clock: systemClock,
  inBackground: (work) => void work,
  onFault: () => undefined,
} satisfies Partial<WebhookOptions>;

/** What a subscription may call with. */
const methods: ReadonlySet<string> = new Set<WebhookMethod>(['POST', 'PUT', 'PATCH']);

/** When the guard cannot be asked; long enough for a restart, short beside the retry schedule. */
const guardGoneRetryMs = 5_000;
/** How soon a done marker that could not be written is tried again. */
const markerRetryMs = 500;

/**
 * A `fetch`-style webhook: works as a Worker's `fetch`, in Hono, Next.js, Deno, Bun.
 *
 * @throws Problem `invalid-settings` at once when a secret is none
 * @param handle runs once per message; may run again after a crash, so its effect should be repeatable or use `once`
 * @example
 * export const POST = webhookHandler(
 *   { secrets: [secret], subscription: 'receipt', guard: createRedisGuard(connectRedis({ url, token })) },
 *   async (message) => sendReceipt(message.json()),
 * );
 */
export function webhookHandler(
  options: WebhookOptions,
  handle: WebhookHandler,
): (request: Request) => Promise<Response> {
  const answer = webhookAnswers(options, handle);
  return (request) => {
    const { headers, method } = request;
    return answer({ method, headers, body: (maxBytes) => readBody(request, maxBytes) });
  };
}

/** One call of a webhook, however it arrived. */
export interface WebhookCall {
  readonly method: string;
  readonly headers: Headers;
  /** The bytes as they were sent; undefined when there are more. */
  readonly body: (maxBytes: number) => Promise<Uint8Array | undefined>;
}

/** `webhookHandler` for a server that has no `Request`. */
export function webhookAnswers(
  options: WebhookOptions,
  handle: WebhookHandler,
): (call: WebhookCall) => Promise<Response> {
  const { guard } = options;
  const settings: Settings = { ...defaults, ...options };
  if (options.secrets.length === 0 || !options.secrets.every(isWebhookSecret)) {
    const detail = `The webhook of "${options.subscription}" needs signing secrets like whsec_….`;
    throw new Problem('invalid-settings', detail);
  }
  return async (call) => {
    const received = await receive(settings, call);
    if ('status' in received) return answerRefusal(received);
    const run = (message: WebhookMessage): Promise<Response> =>
      guard === 'handler'
        ? runAlone(settings, handle, message)
        : runGuarded({ ...settings, guard }, handle, message);
    const items = arrayItems(received);
    return items ? runArray(items, run) : run(received);
  };
}

async function receive(settings: Settings, call: WebhookCall): Promise<WebhookMessage | Refusal> {
  const { subscription, maxBodyBytes } = settings;
  const { headers, method } = call;
  if (!methods.has(method)) {
    return {
      status: 405,
      title: 'A webhook takes a body',
      headers: { allow: [...methods].join(', ') },
    };
  }
  const body = await call.body(maxBodyBytes);
  if (!body) return { status: 413, title: `The body exceeds ${maxBodyBytes} bytes` };
  const refused = refusedSignature(settings, headers, body);
  if (refused) return { status: 401, title: 'The signature is not valid', detail: refused };
  return toWebhookMessage(subscription, headers, body);
}

/** Why the signature is refused, or undefined when it is right. */
function refusedSignature(
  { secrets, clock }: Settings,
  headers: Headers,
  body: Uint8Array,
): string | undefined {
  try {
    verifyWebhook(body, headers, { secrets, nowSeconds: Math.floor(clock.nowMs() / 1000) });
    return undefined;
  } catch (error) {
    const problem = asProblem(error);
    if (problem.kind === 'unauthenticated') return problem.message;
    throw problem;
  }
}

/** The handler's own transaction is the guard. */
async function runAlone(
  settings: Settings,
  handle: WebhookHandler,
  message: WebhookMessage,
): Promise<Response> {
  try {
    return answerResult(await handle(message, { signal: new AbortController().signal }));
  } catch (error) {
    return answerFailure(settings, message, error);
  }
}

type Guarded = Settings & { readonly guard: Guard };

async function runGuarded(
  settings: Guarded,
  handle: WebhookHandler,
  message: WebhookMessage,
): Promise<Response> {
  const key = `idem:${message.subscription}:${message.id}`;
  const sinceMs = settings.clock.nowMs();
  const reservation = await reserve(settings, key, message);
  switch (reservation.outcome) {
    case 'reserved':
      return runHolding(settings, handle, { message, key, token: reservation.token, sinceMs });
    case 'in-flight':
      return answerRefusal({
        status: 409,
        title: 'This message is being handled now',
        headers: retryAfter(reservation.retryAfterMs),
      });
    case 'guard-gone':
      return answerRefusal({
        status: 503,
        title: 'The guard cannot be asked',
        headers: retryAfter(guardGoneRetryMs),
      });
    case 'duplicate':
    case 'mismatch':
      return answerResult(reservation.outcome);
  }
}

async function reserve(
  { guard, leaseMs, onFault }: Guarded,
  key: string,
  message: WebhookMessage,
): Promise<Reservation | { readonly outcome: 'guard-gone' }> {
  try {
    return await guard.reserve(key, message.fingerprint, leaseMs);
  } catch (error) {
    onFault({ during: 'reserve', messageId: message.id, error });
    return { outcome: 'guard-gone' };
  }
}

interface Holding {
  readonly message: WebhookMessage;
  readonly key: string;
  readonly token: string;
  readonly sinceMs: number;
}

async function runHolding(settings: Guarded, handle: WebhookHandler, holding: Holding): Promise<Response> {
  const lease = keepLease(settings, { ...settings, ...holding });
  try {
    const result = await handle(holding.message, { signal: lease.signal });
    lease.stop();
    if (isLater(result)) await holdOn(settings, holding, result);
    else await (result === 'mismatch' ? release(settings, holding) : complete(settings, holding));
    return answerResult(result);
  } catch (error) {
    lease.stop();
    await release(settings, holding);
    return answerFailure(settings, holding.message, error);
  }
}

function isLater(result: WebhookResult): result is Later {
  return typeof result === 'object';
}

/** Copies are kept away for as long as Setway waits; whoever comes after that is the next try. */
async function holdOn(
  { guard, onFault }: Guarded,
  { key, token, message }: Holding,
  { leaseMs }: Later,
): Promise<void> {
  await guard
    .renew(key, token, leaseMs)
    .catch((error: unknown) => onFault({ during: 'complete', messageId: message.id, error }));
}

async function complete(settings: Guarded, holding: Holding): Promise<void> {
  try {
    await writeMarker(settings, holding);
  } catch (error) {
    settings.inBackground(completeLater(settings, holding, error));
  }
}

/** Until the lease is over; by then a copy may have run. Never rejects. */
async function completeLater(settings: Guarded, holding: Holding, first: unknown): Promise<void> {
  const { clock, leaseMs, onFault } = settings;
  const endMs = clock.nowMs() + leaseMs;
  let error = first;
  while (clock.nowMs() < endMs) {
    await new Promise<void>((resolve) => clock.after(markerRetryMs, resolve));
    try {
      return await writeMarker(settings, holding);
    } catch (again) {
      error = again;
    }
  }
  onFault({ during: 'complete', messageId: holding.message.id, error });
}

/** @throws Problem when the guard cannot be asked */
async function writeMarker(settings: Guarded, { key, token, message }: Holding): Promise<void> {
  const { guard, doneTtlMs: ttlMs, onFault } = settings;
  if (await guard.complete(key, token, { fingerprint: message.fingerprint, ttlMs })) return;
  const error = new Problem('conflict', 'The lease was lost; another delivery holds the message.');
  onFault({ during: 'complete', messageId: message.id, error });
}

/** If it fails, the lease runs out by itself. */
async function release({ guard, onFault }: Guarded, { key, token, message }: Holding): Promise<void> {
  await guard
    .release(key, token)
    .catch((error: unknown) => onFault({ during: 'release', messageId: message.id, error }));
}

function answerResult(result: WebhookResult): Response {
  if (isLater(result)) return answerAccepted(result.leaseMs);
  if (result !== 'mismatch') return answerDone(result ?? 'done');
  return answerRefusal({
    status: 422,
    title: 'This id was processed with another body',
    headers: neverRetry,
  });
}

function answerFailure(settings: Settings, message: WebhookMessage, error: unknown): Response {
  settings.onFault({ during: 'handler', messageId: message.id, error });
  if (error instanceof NonRetryable) {
    const title = 'The message cannot be processed';
    return answerRefusal({ status: 422, title, detail: error.message, headers: neverRetry });
  }
  return answerRefusal({ status: 500, title: 'The handler failed' });
}
