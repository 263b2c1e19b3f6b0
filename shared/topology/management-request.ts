/**
 * One call of RabbitMQ's management API: bounded in time and size, errors as Problems. `fetch` refuses credentials in a
 * URL, so they travel as a header and are in no text from here on. Runs wherever there is a `fetch`.
 */
import { Buffer } from 'node:buffer';
import { Problem } from '../problem.ts';
import { away, refused, strange } from './management-problem.ts';

export interface ManagementAddress {
  /** Where `/api` begins, without credentials; a prefix of a proxy belongs to it. */
  readonly base: string;
  /** For people: host and port. */
  readonly at: string;
  readonly authorization: string;
}

/**
 * @throws Problem `invalid-settings`, without the credentials of the URL
 * @example parseManagementUrl('https://admin:secret@rabbit.example:15671').at // 'rabbit.example:15671'
 */
export function parseManagementUrl(text: string): ManagementAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol))
    throw new Problem('invalid-settings', 'A management URL looks like https://user:password@host:15671.');
  const { username, password } = url;
  if (username === '')
    throw new Problem(
      'invalid-settings',
      `The management URL of ${url.host} names no user: https://user:password@${url.host}.`,
    );
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    base: url.origin + url.pathname.replace(/\/+$/, '').replace(/\/api$/, ''),
    at: url.host,
    authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
  };
}

export interface ManagementDependencies {
  readonly fetch: typeof fetch;
  /** Of one call, in milliseconds; 10 s by default: a cluster that loses a node answers late. */
  readonly timeoutMs?: number;
}

export interface ManagementCall {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** From `/api` on; build it with `pathOf`. */
  readonly path: string;
  /** For Problems: what is tried, such as `list the queues of "hangzhou"`. */
  readonly doing: string;
  readonly body?: object;
}

/** @returns the parsed answer; undefined for an empty one, and for a 404 of a GET or a DELETE: it is not there */
export type CallManagement = (call: ManagementCall) => Promise<unknown>;

const defaultTimeoutMs = 10_000;
/** Ten thousand queues in the columns asked for are 5 MB. */
const maxAnswerBytes = 32 * 1_048_576;

/** @example pathOf('queues', 'hang/zhou', 'setway.dead') // /api/queues/hang%2Fzhou/setway.dead */
export function pathOf(...parts: readonly string[]): string {
  return `/api/${parts.map((part) => encodeURIComponent(part)).join('/')}`;
}

export function createManagementCall(
  { fetch: send, timeoutMs = defaultTimeoutMs }: ManagementDependencies,
  { base, at, authorization }: ManagementAddress,
): CallManagement {
  return async (call) => {
    const { doing, method } = call;
    const isAbsenceFine = method === 'GET' || method === 'DELETE';
    let response: Response;
    let text: string;
    try {
      response = await send(base + call.path, {
        method,
        redirect: 'manual',
        headers: {
          authorization,
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      text = await boundedText(response);
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw away({ doing, at, what: reasonOf(error, timeoutMs) }, error);
    }
    const json = parsed(text);
    if (response.ok) {
      if (text === '') return undefined;
      if (json === undefined) throw strange({ doing, at, what: describe(response) });
      return json.value;
    }
    // A page of somebody else's is no word about what was asked for.
    if (text !== '' && json === undefined && response.status < 500)
      throw strange({ doing, at, what: describe(response) });
    if (response.status === 404 && isAbsenceFine) return undefined;
    throw refused({ doing, at, status: response.status, reason: spoken(json?.value) });
  };
}

async function boundedText(response: Response): Promise<string> {
  if (!response.body) return '';
  const parts: Uint8Array[] = [];
  let total = 0;
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    total += part.value.byteLength;
    parts.push(part.value);
    if (total > maxAnswerBytes) {
      await reader.cancel().catch(() => undefined); // dropped on purpose: nobody wants the rest
      throw new Error(`its answer has more than ${maxAnswerBytes} bytes`);
    }
  }
  return Buffer.concat(parts).toString('utf8');
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined; // told by the caller
  }
}

/** `{"error": "bad_request", "reason": "…"}`, the reason sometimes as HTML and over several lines. */
function spoken(answer: unknown): string {
  const { reason, error } = (answer ?? {}) as { readonly reason?: unknown; readonly error?: unknown };
  const text = typeof reason === 'string' ? reason : typeof error === 'string' ? error : '';
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll(/(\w+:\/\/)[^\s/@]*@/g, '$1…@')
    .replaceAll(/\s+/g, ' ')
    .trim()
    .slice(0, 300)
    .replace(/\.$/, '');
}

function describe(response: Response): string {
  return `HTTP ${response.status}, ${response.headers.get('content-type') ?? 'no content type'}`;
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return 'no answer';
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return `no answer within ${timeoutMs} ms`;
  const { cause } = error;
  const code = cause instanceof Error ? ((cause as { readonly code?: unknown }).code ?? cause.message) : '';
  return typeof code === 'string' && code !== ''
    ? code
    : error.message.replaceAll(/(\w+:\/\/)[^\s/@]*@/g, '$1…@');
}
