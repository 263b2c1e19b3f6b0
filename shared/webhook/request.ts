/**
 * One guarded POST to a webhook. Whatever the receiver does, it comes back as a value within `timeoutMs`:
 *
 * - The time is total: connecting, sending, waiting and reading. A receiver that drips a byte now and then restarts no
 *   clock; a body that does not end in time is no answer, even after a 200. One exception is workerd's: a flood of 1xx
 *   answers is read without a pause, so that no timer of the process runs before it ebbs; then it ends.
 * - Redirects are not followed: the address behind one has passed no check.
 * - Bodies are asked for uncompressed, and at most 64 KiB of them are read, counted after any decoding. Beyond that the
 *   connection is dropped and the status counts. 1 KiB is kept, of failures only unless asked otherwise, as text for people.
 * - Nothing here checks where the URL leads. On Cloudflare the flag `global_fetch_strictly_public` keeps `fetch` out of
 *   private networks; on Node use functions/node/webhook-request.ts, which keeps the same contract and checks every address.
 */
import type { Clock } from '../clock.ts';
import type { WebhookMethod } from '../subscriptions/delivery-policy.ts';
import type { AnswerHeaders, WebhookAnswer } from './outcome.ts';

export interface WebhookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Default POST. */
  readonly method?: WebhookMethod | undefined;
  /** Total time, in milliseconds. */
  readonly timeoutMs: number;
  /** Bytes of a body that are kept; default `excerptBytes`, at most `maxAnswerBytes`. */
  readonly keptBytes?: number;
  /** Whose body's start is kept; default `failures`. */
  readonly excerpt?: 'failures' | 'always';
}

/** The contract: never rejects for what a receiver does. */
export type PostWebhook = (request: WebhookRequest) => Promise<WebhookAnswer>;

export interface FetchDependencies {
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'after'>;
}

/** Bytes of an answer's body that are read. */
export const maxAnswerBytes = 64 * 1024;
/** Bytes of a body that are kept. */
export const excerptBytes = 1024;

/** Fields every request has, whatever its own headers say. */
export const fixedHeaders = { 'accept-encoding': 'identity' } as const;

/**
 * @example await postWebhook({ fetch, clock: systemClock }, { url, headers, body, timeoutMs: 10_000 })
 */
export async function postWebhook(
  dependencies: FetchDependencies,
  request: WebhookRequest,
): Promise<WebhookAnswer> {
  const stop = new AbortController();
  let cancelTimer = (): void => undefined;
  const outOfTime = new Promise<WebhookAnswer>((resolve) => {
    cancelTimer = dependencies.clock.after(request.timeoutMs, () => {
      resolve(timedOut(request.timeoutMs));
      stop.abort();
    });
  });
  try {
    return await Promise.race([send(dependencies, request, stop.signal), outOfTime]);
  } finally {
    cancelTimer();
  }
}

export function timedOut(timeoutMs: number): WebhookAnswer {
  return { error: `No complete answer within ${timeoutMs} ms` };
}

/**
 * The text kept of an answer, if any: one line of valid UTF-8 without control characters, on which logs and databases
 * choke. It ends with `…` when there was more, so that nobody takes a start for the whole.
 * @param bytes more than are kept when the body is longer
 */
export function excerptOf(
  { excerpt, keptBytes = excerptBytes }: WebhookRequest,
  status: number,
  bytes: Uint8Array,
): string {
  if (excerpt !== 'always' && status >= 200 && status < 300) return '';
  const text = new TextDecoder().decode(bytes.subarray(0, keptBytes));
  const line = text.replaceAll(/[\p{Cc}\s\ufeff]+/gu, ' ').trim();
  return bytes.byteLength > keptBytes ? `${line}…` : line;
}

async function send(
  { fetch: call }: FetchDependencies,
  request: WebhookRequest,
  signal: AbortSignal,
): Promise<WebhookAnswer> {
  try {
    const response = await call(request.url, {
      method: request.method ?? 'POST',
      headers: { ...request.headers, ...fixedHeaders },
      body: request.body as Uint8Array<ArrayBuffer>,
      redirect: 'manual',
      signal,
    });
    const bytes = await readStart(response, request.keptBytes ?? excerptBytes);
    return {
      status: response.status,
      headers: headersOf(response),
      excerpt: excerptOf(request, response.status, bytes),
    };
  } catch (error) {
    return { error: reasonOf(error) };
  }
}

/** The first bytes of the body, those that are kept and one more if there is, having read it to its end or to `maxAnswerBytes`. */
async function readStart(response: Response, keptBytes: number): Promise<Uint8Array> {
  const start = new Uint8Array(keptBytes + 1);
  let total = 0;
  if (!response.body) return start.subarray(0, 0);
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (total < start.length) start.set(part.value.subarray(0, start.length - total), total);
    total += part.value.byteLength;
    if (total > maxAnswerBytes) {
      void reader.cancel().catch(() => undefined); // dropped on purpose: the status is all that is wanted
      break;
    }
  }
  return start.subarray(0, total);
}

/** `fetch` says only "fetch failed"; why stands in its cause. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error && error.cause.message ? `: ${error.cause.message}` : '';
  const code = (error as { code?: unknown }).code;
  return `${error.message || (typeof code === 'string' ? code : error.name)}${cause}`;
}

function headersOf(response: Response): AnswerHeaders {
  return Object.fromEntries(response.headers);
}
