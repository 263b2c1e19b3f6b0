/** The HTTP side the two bridges share: one JSON request in, one JSON answer out, on loopback only. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface BridgeRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  /** Fires when the client goes away before it was answered. */
  readonly signal: AbortSignal;
}

export interface BridgeAnswer {
  readonly status: number;
  readonly json: unknown;
}

export interface BridgeServer {
  readonly url: string;
  close(): Promise<void>;
}

/** 64 MiB, the limit Neon documents for its own HTTP endpoint; also guards this process's memory. */
const maxBodyBytes = 64 * 1024 * 1024;

/**
 * Listens on 127.0.0.1; port 0 takes a free one.
 *
 * @throws the listen error, for instance EADDRINUSE
 */
export async function serveBridge(
  port: number,
  handle: (request: BridgeRequest) => Promise<BridgeAnswer>,
): Promise<BridgeServer> {
  const server = createServer((incoming, response) => void answer(incoming, response, handle));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const { port: actualPort } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${actualPort}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

async function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  handle: (request: BridgeRequest) => Promise<BridgeAnswer>,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(new Error('the client went away'));
  });
  try {
    const body = await readBody(incoming);
    const path = incoming.url ?? '/';
    const headers = incoming.headers as Record<string, string | undefined>;
    send(response, await handle({ path, headers, body, signal: gone.signal }));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    send(response, { status: 500, json: { message, error: message } });
  }
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw new Error(`the request body exceeds ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, { status, json }: BridgeAnswer): void {
  if (response.destroyed) return;
  const text = JSON.stringify(json);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
