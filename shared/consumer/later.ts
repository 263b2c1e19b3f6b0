/**
 * Answering later: the handler returns `answerLater(…)`, the delivery stays leased, and whoever does the work says what
 * became of it by the delivery's id. The guard keeps copies away for as long as the lease, and lets the next try in when
 * it ends; done, failed and extend are said to Setway.
 */
import { defaultLeaseMs, maxLeaseMs } from '../webhook/lease.ts';
import { formatDuration, parseDurationMs } from '../duration.ts';
import { Problem, asProblem } from '../problem.ts';

/** What a handler returns that has not finished. */
export interface Later {
  readonly answer: 'later';
  readonly leaseMs: number;
}

/**
 * @param lease seconds, or as `"10m"`: by then `done`, `failed` or `extend` must have come; 10 minutes by default
 * @throws Problem `invalid-request` when it is no duration up to 24 hours
 * @example
 * async (message) => {
 *   await queue.add({ delivery: message.delivery, order: message.json() }); // committed before the answer
 *   return answerLater({ lease: '30m' });
 * }
 */
export function answerLater({ lease }: { readonly lease?: string | number } = {}): Later {
  const leaseMs =
    lease === undefined ? defaultLeaseMs : parseDurationMs(lease, { at: 'lease', maxMs: maxLeaseMs });
  return { answer: 'later', leaseMs };
}

export interface DeliveriesOptions {
  /** Where Setway is: `https://setway.example`. */
  readonly url: string;
  readonly fetch?: typeof fetch;
  /** Waits; a test's own. */
  readonly sleep?: (ms: number) => Promise<void>;
}

/** What became of deliveries, by the id each was handed (`message.delivery`). Safe to say twice. */
export interface Deliveries {
  /** @throws Problem `not-found`; `set-unavailable` when Setway does not answer: say it again later */
  done(delivery: string): Promise<void>;
  /** @throws Problem `conflict` when the lease is over or the delivery is decided otherwise */
  failed(
    delivery: string,
    why?: { readonly error?: string; readonly retry?: 'never'; readonly retryAfter?: string | number },
  ): Promise<void>;
  /** @param lease from now. @throws Problem `conflict` when the lease is over: stop the work */
  extend(delivery: string, lease: string | number): Promise<void>;
}

const tries = 5;
const waitMs = 500;
const sleepFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** @example const deliveries = deliveriesOf({ url: process.env.SETWAY_URL }); await deliveries.done(job.delivery); */
export function deliveriesOf({ url, fetch: call = fetch, sleep = sleepFor }: DeliveriesOptions): Deliveries {
  const base = url.replace(/\/+$/, '');
  const say = async (delivery: string, what: string, body: object): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      const answer = await post(call, `${base}/v1/deliveries/${encodeURIComponent(delivery)}/${what}`, body);
      if (answer === 'done') return;
      if (!answer.retryable || attempt === tries) throw answer;
      await sleep(waitMs * 2 ** (attempt - 1));
    }
  };
  return {
    done: (delivery) => say(delivery, 'done', {}),
    failed: (delivery, why = {}) => say(delivery, 'failed', why),
    extend: (delivery, lease) =>
      say(delivery, 'extend', { lease: typeof lease === 'string' ? lease : formatDuration(lease * 1000) }),
  };
}

async function post(call: typeof fetch, url: string, body: object): Promise<'done' | Problem> {
  try {
    const headers = { 'content-type': 'application/json' };
    const response = await call(url, { method: 'POST', headers, body: JSON.stringify(body) });
    const text = await response.text();
    return response.ok ? 'done' : problemOf(response.status, text);
  } catch (error) {
    return new Problem('set-unavailable', asProblem(error).message, { cause: error });
  }
}

function problemOf(status: number, text: string): Problem {
  const detail = text.slice(0, 500) || `HTTP ${status}`;
  if (status === 404) return new Problem('not-found', detail);
  // The lease is not written yet: told apart from one that is over by its type.
  if (status === 409)
    return new Problem(text.includes('/problems/in-flight') ? 'in-flight' : 'conflict', detail);
  return new Problem(status >= 500 || status === 429 ? 'set-unavailable' : 'invalid-request', detail);
}
