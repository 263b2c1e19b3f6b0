/** The webhook on Node's own server, over real sockets. */
import { once } from 'node:events';
import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeWebhook } from '../../shared/consumer/node.ts';
import { signedRequest } from '../../shared/consumer/testing.ts';
import { createMemoryGuard } from '../../shared/idempotency/memory-guard.ts';
import { secret } from './signed-request.ts';

type Middle = (request: IncomingMessage & { body?: unknown }) => Promise<void>;

const stops: (() => void)[] = [];
afterEach(() => stops.splice(0).forEach((stop) => stop()));

/** @param before a body parser */
async function serve(before?: Middle) {
  const seen: Uint8Array[] = [];
  const options = {
    secrets: [secret],
    subscription: 'mail',
    guard: createMemoryGuard(),
    maxBodyBytes: 1_000,
  };
  const webhook = nodeWebhook(options, async ({ bytes }) => void seen.push(bytes));
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    void (before?.(request) ?? Promise.resolve()).then(() => webhook(request, response));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { seen, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

async function post(url: string, request: Request): Promise<Response> {
  return fetch(url, { method: request.method, headers: request.headers, body: await request.arrayBuffer() });
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
}

describe('the webhook on a Node server', () => {
  it('reads the bytes as they were sent, runs once, and answers a copy', async () => {
    const { seen, url } = await serve();
    const body = new Uint8Array([0, 255, 10, 195]);
    const sent = { secret, body, id: 'msg_1' };
    expect((await post(url, signedRequest(sent))).status).toBe(200);
    const copy = await post(url, signedRequest(sent));
    expect([copy.status, copy.headers.get('setway-duplicate')]).toEqual([200, '1']);
    expect(seen.map((bytes) => [...bytes])).toEqual([[...body]]);
  });

  it('refuses a wrong signature and another method', async () => {
    const { seen, url } = await serve();
    const other = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
    expect((await post(url, signedRequest({ secret: other, body: 1 }))).status).toBe(401);
    expect((await fetch(url)).status).toBe(405);
    expect(seen).toEqual([]);
  });

  it('stops reading at the limit, and answers', async () => {
    const { seen, url } = await serve();
    const request = send(url, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } });
    request.on('error', () => undefined); // the server may close before all is sent
    for (let part = 0; part < 64; part++) request.write(Buffer.alloc(1_000));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect([response.statusCode, response.headers.connection]).toEqual([413, 'close']);
    request.destroy();
    expect(seen).toEqual([]);
  });

  it('takes the bytes that a raw body parser kept, and says what is wrong with parsed ones', async () => {
    const raw = await serve(async (request) => void (request.body = await bytesOf(request)));
    expect((await post(raw.url, signedRequest({ secret, body: { a: 1 } }))).status).toBe(200);
    const parsed = await serve(
      async (request) => void (request.body = JSON.parse((await bytesOf(request)).toString()) as unknown),
    );
    const refused = await post(parsed.url, signedRequest({ secret, body: { a: 1 } }));
    expect(refused.status).toBe(500);
    expect(await refused.json()).toMatchObject({ title: 'A body parser ran before the webhook' });
    // Once more: an answer is not used up by being given.
    expect((await post(parsed.url, signedRequest({ secret, body: 1 }))).status).toBe(500);
    expect([raw.seen.length, parsed.seen.length]).toEqual([1, 0]);
  });
});
