/** A receiver of webhooks that is not ours: it answers as it is told and remembers every call. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface WebhookCall {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Unix milliseconds of its arrival. */
  readonly atMs: number;
  /** When the answer left. */
  answeredAtMs?: number;
}

interface PlainAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** `never`: the connection stays open without an answer. */
export type ScriptedAnswer =
  | 'never'
  | PlainAnswer
  | ((call: WebhookCall) => PlainAnswer | Promise<PlainAnswer>);

export interface WebhookReceiver {
  /** Without a slash at the end. */
  readonly url: string;
  readonly calls: readonly WebhookCall[];
  /** The next calls of this path get these answers, in turn; after them, and without a script, 200. */
  script(path: string, answers: readonly ScriptedAnswer[]): void;
  /** From now on answers of this path take so long. */
  holdAnswers(path: string, holdMs: number): void;
  callsOf(messageId: string, path?: string): readonly WebhookCall[];
  /** Resolves with the first truthy answer of `look`, which is asked again at every call. */
  waitFor<T>(look: (calls: readonly WebhookCall[]) => T, deadlineMs: number): Promise<NonNullable<T>>;
  stop(): Promise<void>;
}

/** @example const receiver = await startWebhookReceiver(); receiver.script('/mail', [{ status: 503 }]); */
export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const calls: WebhookCall[] = [];
  const scripts = new Map<string, ScriptedAnswer[]>();
  const holds = new Map<string, number>();
  const lookers = new Set<() => void>();

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const atMs = Date.now();
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    const path = request.url ?? '/';
    const call: WebhookCall = { method: request.method ?? '', path, headers: request.headers, body, atMs };
    calls.push(call);
    for (const look of lookers) look();
    const scripted = scripts.get(path)?.shift() ?? { status: 200 };
    if (scripted === 'never') return;
    const answer = typeof scripted === 'function' ? await scripted(call) : scripted;
    const holdMs = holds.get(path);
    if (holdMs !== undefined) await new Promise((resolve) => setTimeout(resolve, holdMs));
    call.answeredAtMs = Date.now();
    response.writeHead(answer.status, answer.headers).end(answer.body);
  };

  const server = createServer((request, response) => {
    // A caller that gave up is no fault of the receiver.
    receive(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    script: (path, answers) => void scripts.set(path, [...answers]),
    holdAnswers: (path, holdMs) => void holds.set(path, holdMs),
    callsOf: (messageId, path) =>
      calls.filter((call) => call.headers['webhook-id'] === messageId && (path ?? call.path) === call.path),
    async waitFor(look, deadlineMs) {
      const found = Promise.withResolvers<NonNullable<ReturnType<typeof look>>>();
      const check = (): void => {
        const answer = look(calls);
        if (answer) found.resolve(answer);
      };
      const late = (): void =>
        found.reject(new Error(`Not seen within ${deadlineMs} ms; ${calls.length} calls came.`));
      const timer = setTimeout(late, deadlineMs);
      lookers.add(check);
      check();
      try {
        return await found.promise;
      } finally {
        clearTimeout(timer);
        lookers.delete(check);
      }
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
