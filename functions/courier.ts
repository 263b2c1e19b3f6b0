/**
 * Carries deliveries to their webhooks: writes the request, signs its bytes, sends it, reads what the answer means.
 * How a request leaves is the platform's: a guarded connector on Node, `fetch` on Cloudflare.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { Clock } from '../shared/clock.ts';
import type {
  Answer,
  Check,
  CheckAnswer,
  Courier,
  Dispatch,
  Notice,
  NoticeAnswer,
} from '../shared/delivery/courier.ts';
import { arrayType, encodeArray, readFailed } from '../shared/message/array.ts';
import { toBinaryEvent, toStructuredEvent, structuredType } from '../shared/message/cloud-event.ts';
import type { Batch, Order } from '../shared/message/message.ts';
import { asProblem } from '../shared/problem.ts';
import { checkWebhookUrl, type WebhookUrlPolicy } from '../shared/webhook/address.ts';
import { checkAnswerOf } from '../shared/webhook/check-answer.ts';
import type { DeliveryIds } from '../shared/webhook/delivery-id.ts';
import { outcomeOf, type WebhookAnswer } from '../shared/webhook/outcome.ts';
import {
  excerptBytes,
  maxAnswerBytes,
  type PostWebhook,
  type WebhookRequest,
} from '../shared/webhook/request.ts';
import { signWebhook } from '../shared/webhook/signature.ts';

/** A webhook that is a function of this deployment. */
export type WebhookFunction = (request: Request) => Promise<Response>;

export interface CourierParts {
  readonly post: PostWebhook;
  /** Called without a network hop, by the name a subscription's endpoint gives. */
  readonly functions: Readonly<Record<string, WebhookFunction>>;
  readonly policy: WebhookUrlPolicy;
  readonly deliveryIds: DeliveryIds;
  readonly clock: Clock;
  readonly sliceSize: number;
}

export function createCourier(parts: CourierParts): Courier {
  return {
    sliceSize: parts.sliceSize,
    carry: (slice) => Promise.all(slice.map((dispatch) => carryOne(parts, dispatch))),
    ask: (check) => ask(parts, check),
    tell: (notice) => tell(parts, notice),
  };
}

async function carryOne(parts: CourierParts, dispatch: Dispatch): Promise<Answer> {
  const beganMs = parts.clock.nowMs();
  const answer = await call(parts, dispatch).catch((error: unknown): WebhookAnswer => ({
    error: asProblem(error).message,
  }));
  const nowMs = parts.clock.nowMs();
  const failed = dispatch.items && 'excerpt' in answer ? { failed: readFailed(answer.excerpt) } : {};
  const kept = dispatch.keeps && 'excerpt' in answer ? { body: answer.excerpt.slice(0, excerptBytes) } : {};
  return { ...outcomeOf(answer, nowMs, dispatch), ...failed, ...kept, durationMs: nowMs - beganMs };
}

function call(parts: CourierParts, dispatch: Dispatch): Promise<WebhookAnswer> {
  const { endpoint } = dispatch;
  if ('function' in endpoint) return callFunction(parts, endpoint.function, dispatch);
  // Checked again at each call: a subscription may be older than a rule.
  const url = checkWebhookUrl(endpoint.url, parts.policy).href;
  return parts.post(requestOf(parts, dispatch, url));
}

/** The signed request of one delivery. */
function requestOf(
  { clock, deliveryIds }: Pick<CourierParts, 'clock' | 'deliveryIds'>,
  dispatch: Dispatch,
  url: string,
): WebhookRequest {
  const { attempt, items, message, format, set, subscription } = dispatch;
  if (items) return arrayRequestOf({ clock, deliveryIds }, dispatch, { items, url });
  const isStructured = format === 'cloudevents-structured';
  const body = isStructured ? toStructuredEvent(message) : message.body;
  const headers = {
    ...message.headers,
    ...dispatch.headers,
    ...(format === 'cloudevents-binary' ? toBinaryEvent(message) : {}),
    'content-type': isStructured ? structuredType : message.contentType,
    'user-agent': 'Setway',
    'setway-topic': message.topic,
    'setway-subscription': subscription,
    'setway-attempt': String(attempt),
    'setway-delivery': deliveryIds.write({ messageId: message.id, set, subscription, attempt }),
    'setway-set': message.placement.set,
    ...(message.tag === undefined ? {} : { 'setway-tag': message.tag }),
    ...(message.key === undefined ? {} : { 'setway-key': message.key }),
    ...(message.order === undefined ? {} : orderHeaders(message.order)),
    ...(message.batch === undefined ? {} : batchHeaders(message.batch)),
    ...(message.traceparent === undefined ? {} : { traceparent: message.traceparent }),
    ...signWebhook(body, {
      id: message.id,
      timestampSeconds: Math.floor(clock.nowMs() / 1000),
      secrets: dispatch.secrets,
    }),
  };
  const excerpt = dispatch.keeps ? 'always' : 'failures';
  return { url, headers, body, timeoutMs: dispatch.timeoutMs, method: dispatch.method, excerpt };
}

/** Its id is that of these very messages, so that the same array tried again is the same. */
function arrayRequestOf(
  { clock, deliveryIds }: Pick<CourierParts, 'clock' | 'deliveryIds'>,
  dispatch: Dispatch,
  { items, url }: { readonly items: NonNullable<Dispatch['items']>; readonly url: string },
): WebhookRequest {
  const { set, subscription, secrets, method, timeoutMs } = dispatch;
  const named = items.map(({ message, attempt }) => ({
    message,
    attempt,
    delivery: deliveryIds.write({ messageId: message.id, set, subscription, attempt }),
  }));
  const body = encodeArray(named);
  const ids = createHash('sha256').update(items.map(({ message }) => message.id).join(' '));
  const id = `arr_${ids.digest('hex').slice(0, 32)}`;
  const headers = {
    ...dispatch.headers,
    'content-type': arrayType,
    'user-agent': 'Setway',
    'setway-topic': dispatch.message.topic,
    'setway-subscription': subscription,
    'setway-attempt': String(dispatch.attempt),
    'setway-set': set,
    'setway-size': String(items.length),
    ...signWebhook(body, { id, timestampSeconds: Math.floor(clock.nowMs() / 1000), secrets }),
  };
  return { url, headers, body, timeoutMs, method, excerpt: 'always', keptBytes: maxAnswerBytes };
}

function orderHeaders(order: Order): Readonly<Record<string, string>> {
  if (order.kind === 'lane') return { 'setway-lane': order.lane };
  const { session, sequence, size } = order;
  return { 'setway-session': session, 'setway-sequence': String(sequence), 'setway-size': String(size) };
}

function batchHeaders({ session, size }: Batch): Readonly<Record<string, string>> {
  return { 'setway-session': session, 'setway-size': String(size) };
}

/**
 * The question is a JSON body, signed like a delivery; how a producer answers it: shared/transaction/barrier.ts. Its id
 * is another one each time, so that a receiver which recognises copies does not answer from its memory.
 */
async function ask(parts: CourierParts, check: Check): Promise<CheckAnswer> {
  const { transaction, messages } = check;
  try {
    const request = signedJson(parts, check, { transaction, messages });
    return checkAnswerOf(await parts.post({ ...request, excerpt: 'always' }));
  } catch (error) {
    return { state: 'unknown', error: asProblem(error).message };
  }
}

async function tell(parts: CourierParts, notice: Notice): Promise<NoticeAnswer> {
  const beganMs = parts.clock.nowMs();
  const answer = await post(parts, notice).catch((error: unknown): WebhookAnswer => ({
    error: asProblem(error).message,
  }));
  const nowMs = parts.clock.nowMs();
  const { verdict, status, error, retryAfterMs } = outcomeOf(answer, nowMs);
  return {
    // Whoever takes it for later has it; a receiver that is gone hears no more of this, and nothing else stops for it.
    verdict: verdict === 'leased' ? 'done' : verdict === 'disable' ? 'dead' : verdict,
    status,
    error,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    durationMs: nowMs - beganMs,
  };
}

async function post(parts: CourierParts, notice: Notice): Promise<WebhookAnswer> {
  const request = signedJson(parts, notice, notice.content);
  const own = { 'setway-notice': notice.kind, 'setway-attempt': String(notice.attempt) };
  return parts.post({ ...request, headers: { ...request.headers, ...own } });
}

/** @throws Problem `destination-refused` */
function signedJson(
  { clock, policy }: CourierParts,
  told: Pick<Notice, 'url' | 'id' | 'secrets' | 'timeoutMs'>,
  content: object,
): WebhookRequest {
  const { id, secrets, timeoutMs } = told;
  const body = Buffer.from(JSON.stringify(content));
  const timestampSeconds = Math.floor(clock.nowMs() / 1000);
  return {
    url: checkWebhookUrl(told.url, policy).href,
    headers: {
      'content-type': 'application/json',
      'user-agent': 'Setway',
      ...signWebhook(body, { id, timestampSeconds, secrets }),
    },
    body,
    timeoutMs,
  };
}

async function callFunction(parts: CourierParts, name: string, dispatch: Dispatch): Promise<WebhookAnswer> {
  const handle = parts.functions[name];
  if (!handle) return { error: `This deployment has no webhook function "${name}".` };
  const written = requestOf(parts, dispatch, `https://webhooks.invalid/${name}`);
  const { url, headers, body, method = 'POST' } = written;
  const request = new Request(url, { method, headers, body: Buffer.from(body) });
  let cancel = (): void => undefined;
  const timeout = new Promise<WebhookAnswer>((resolve) => {
    const late = { error: `No answer within ${dispatch.timeoutMs} ms` };
    cancel = parts.clock.after(dispatch.timeoutMs, () => resolve(late));
  });
  try {
    return await Promise.race([handle(request).then((response) => answerOf(written, response)), timeout]);
  } finally {
    cancel();
  }
}

async function answerOf(
  { excerpt, keptBytes = excerptBytes }: WebhookRequest,
  response: Response,
): Promise<WebhookAnswer> {
  const text = await response.text();
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    excerpt: response.ok && excerpt !== 'always' ? '' : text.slice(0, keptBytes),
  };
}
