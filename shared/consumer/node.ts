/**
 * The webhook for Node's own server and for Express, Connect and others with `(request, response)` handlers.
 *
 * The signature is over bytes, so the body must come here as it was sent. It is read here, no further than the limit; a
 * body parser that ran before must have kept the bytes (`express.raw({ type: 'application/json' })`), since nobody can write parsed
 * JSON back byte for byte.
 */
import { webhookAnswers, type WebhookHandler, type WebhookOptions } from './consumer.ts';
import { answerRefusal, type Refusal } from './webhook-answer.ts';

/** What is needed of Node's IncomingMessage, or Express' Request. */
export interface NodeRequest extends AsyncIterable<unknown> {
  readonly method?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** What a body parser left. */
  readonly body?: unknown;
  readonly readableEnded?: boolean;
  on(event: string, listener: (chunk: Uint8Array) => void): unknown;
  off(event: string, listener: (chunk: Uint8Array) => void): unknown;
  pause(): unknown;
}

/** What is needed of Node's ServerResponse. */
export interface NodeResponse {
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
  end(body?: string): unknown;
}

const defaultMaxBodyBytes = 1024 * 1024;

/**
 * @throws Problem `invalid-settings` at once when a secret is none
 * @example createServer(nodeWebhook({ secrets, subscription: 'receipt', guard }, handle)).listen(3000);
 * @example app.post('/receipt', nodeWebhook({ secrets, subscription: 'receipt', guard }, handle)); // before express.json()
 */
export function nodeWebhook(
  options: WebhookOptions,
  handle: WebhookHandler,
): (request: NodeRequest, response: NodeResponse) => Promise<void> {
  const answer = webhookAnswers(options, handle);
  const maxBytes = options.maxBodyBytes ?? defaultMaxBodyBytes;
  return async (request, response) => {
    const body = await bodyOf(request, maxBytes);
    if (body === 'gone') return;
    const { method = 'GET', headers } = request;
    const said =
      typeof body === 'string'
        ? answerRefusal(refusals[body])
        : await answer({ method, headers: fieldsOf(headers), body: () => Promise.resolve(body) });
    // What is left of a body that is too large is not read, so the connection cannot go on.
    const close = body === 'too-large' ? { connection: 'close' } : {};
    response.writeHead(said.status, { ...Object.fromEntries(said.headers), ...close });
    response.end(said.body ? await said.text() : undefined);
  };
}

type Unread = 'too-large' | 'parsed' | 'gone';

const refusals: Readonly<Record<Exclude<Unread, 'gone'>, Refusal>> = {
  'too-large': { status: 413, title: 'The body is too large' },
  parsed: {
    status: 500,
    title: 'A body parser ran before the webhook',
    detail: 'Mount the webhook before express.json(), or give it the bytes by express.raw({ type: "*/*" }).',
  },
};

async function bodyOf(request: NodeRequest, maxBytes: number): Promise<Uint8Array | Unread> {
  const { body } = request;
  if (body instanceof Uint8Array) return body.length > maxBytes ? 'too-large' : body;
  // Express leaves {} or undefined where nothing was parsed; then the stream still has it.
  if (request.readableEnded === true && body !== undefined) return 'parsed';
  return read(request, maxBytes);
}

function read(request: NodeRequest, maxBytes: number): Promise<Uint8Array | Unread> {
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    const finish = (body: Uint8Array | Unread): void => {
      request.off('data', take);
      request.off('end', end);
      request.off('close', gone);
      resolve(body);
    };
    const take = (chunk: Uint8Array): void => {
      size += chunk.byteLength;
      if (size <= maxBytes) return void chunks.push(chunk);
      request.pause();
      finish('too-large');
    };
    const end = (): void => finish(joined(chunks, size));
    const gone = (): void => finish('gone');
    request.on('data', take);
    request.on('end', end);
    request.on('close', gone);
  });
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}

function fieldsOf(headers: NodeRequest['headers']): Headers {
  const kept = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string') kept.set(name, value);
    else for (const each of value ?? []) kept.append(name, each);
  }
  return kept;
}
