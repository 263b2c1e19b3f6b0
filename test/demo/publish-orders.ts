/**
 * Publishes orders over HTTP, a fixed number at once, on connections that stay open. An order that is not accepted is
 * sent again under its Idempotency-Key, as any client should; what was accepted goes into the ledger.
 */
import { Pool } from 'undici';
import { bodyOf, type Order } from './orders.ts';

export interface Accepted {
  readonly order: Order;
  readonly id: string;
  readonly set: string;
  readonly distanceKm: number;
  /** From the first try to the 202. */
  readonly latencyMs: number;
}

/** What came of publishing. */
export interface Ledger {
  readonly accepted: readonly Accepted[];
  readonly refused: readonly { readonly order: Order; readonly reason: string }[];
  /** Orders that were sent twice at once and got one id. */
  readonly recognised: number;
  /** Tries that had to be repeated. */
  readonly retries: number;
  readonly durationMs: number;
}

export interface PublishWish {
  readonly url: string;
  readonly apiKey: string;
  /** Marks the messages of this run. */
  readonly tag: string;
  readonly concurrency: number;
  readonly onProgress: (done: number) => void;
}

interface Answer {
  readonly id: string;
  readonly set: string;
  readonly route: { readonly distanceKm?: number };
}

const maxTries = 20;
/** Where the answer names no time. */
const retryAfterMs = 250;

export async function publishOrders(wish: PublishWish, orders: readonly Order[]): Promise<Ledger> {
  const pool = new Pool(wish.url, { connections: wish.concurrency });
  const counts = { recognised: 0, retries: 0 };
  const accepted: Accepted[] = [];
  const refused: { order: Order; reason: string }[] = [];
  const beginMs = performance.now();
  const publishOne = async (order: Order): Promise<void> => {
    const sentMs = performance.now();
    const send = (): Promise<Answer> => publish(pool, wish, order, () => counts.retries++);
    const [answer, copy] = await Promise.all([send(), order.sending === 'again' ? send() : undefined]);
    if (copy && copy.id !== answer.id)
      throw new Error(`One Idempotency-Key, two ids: ${answer.id}, ${copy.id}`);
    if (copy) counts.recognised++;
    const { id, set, route } = answer;
    accepted.push({
      order,
      id,
      set,
      distanceKm: route.distanceKm ?? 0,
      latencyMs: performance.now() - sentMs,
    });
  };
  const waiting = orders.values();
  const worker = async (): Promise<void> => {
    for (const order of waiting) {
      await publishOne(order).catch((error: unknown) => refused.push({ order, reason: String(error) }));
      wish.onProgress(accepted.length + refused.length);
    }
  };
  try {
    await Promise.all(Array.from({ length: wish.concurrency }, worker));
  } finally {
    await pool.close();
  }
  return { accepted, refused, ...counts, durationMs: performance.now() - beginMs };
}

async function publish(pool: Pool, wish: PublishWish, order: Order, onRetry: () => void): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    const answer = await attempt(pool, wish, order);
    if ('id' in answer) return answer;
    if (tries === maxTries || !answer.retryable) throw new Error(`${order.orderId}: ${answer.reason}`);
    onRetry();
    await new Promise((resolve) => setTimeout(resolve, answer.afterMs));
  }
}

interface Failure {
  readonly reason: string;
  readonly retryable: boolean;
  readonly afterMs: number;
}

async function attempt(pool: Pool, wish: PublishWish, order: Order): Promise<Answer | Failure> {
  try {
    const { statusCode, headers, body } = await pool.request({
      method: 'POST',
      path: '/v1/topics/orders/messages',
      headers: headersOf(wish, order),
      body: bodyOf(order),
    });
    const text = await body.text();
    if (statusCode === 202) return JSON.parse(text) as Answer;
    const seconds = Number(headers['retry-after']);
    return {
      reason: `${statusCode} ${text}`,
      retryable: statusCode === 409 || statusCode === 429 || statusCode >= 500,
      afterMs: seconds > 0 ? seconds * 1000 : retryAfterMs,
    };
  } catch (error) {
    // No answer: it may have been accepted all the same, which the same key finds out.
    return { reason: String(error), retryable: true, afterMs: retryAfterMs };
  }
}

function headersOf({ apiKey, tag }: PublishWish, { orderId, city }: Order): Record<string, string> {
  return {
    authorization: `Bearer ${apiKey}`,
    'content-type': 'application/json',
    'idempotency-key': orderId,
    'setway-tag': tag,
    'setway-latitude': String(city.latitude),
    'setway-longitude': String(city.longitude),
  };
}
