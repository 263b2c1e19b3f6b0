/** The webhook in a real Express application, with and without its body parsers. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeWebhook } from '../../shared/consumer/node.ts';
import { signedRequest } from '../../shared/consumer/testing.ts';
import { createMemoryGuard } from '../../shared/idempotency/memory-guard.ts';
import { secret } from './signed-request.ts';

const stops: (() => void)[] = [];
afterEach(() => stops.splice(0).forEach((stop) => stop()));

/** @param mount puts the webhook, and whatever stands before it, into the application */
async function serve(mount: (app: Express, webhook: ReturnType<typeof nodeWebhook>) => void) {
  const seen: Uint8Array[] = [];
  const options = {
    secrets: [secret],
    subscription: 'mail',
    guard: createMemoryGuard(),
    maxBodyBytes: 1_000,
  };
  const app = express();
  mount(
    app,
    nodeWebhook(options, async ({ bytes }) => void seen.push(bytes)),
  );
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const post = async (sent: Parameters<typeof signedRequest>[0]): Promise<Response> => {
    const request = signedRequest(sent);
    return fetch(url, { method: 'POST', headers: request.headers, body: await request.arrayBuffer() });
  };
  return { seen, url, post };
}

describe('the webhook in Express', () => {
  it('before the parsers: gets the bytes, answers a copy, and leaves other routes their parsers', async () => {
    const { seen, url, post } = await serve((app, webhook) => {
      app.post('/hook', webhook);
      app.use(express.json());
      app.post('/other', (request, response) => void response.json(request.body));
    });
    const sent = { secret, body: new Uint8Array([123, 34, 255, 10]), id: 'msg_1' };
    expect((await post(sent)).status).toBe(200);
    const copy = await post(sent);
    expect([copy.status, copy.headers.get('setway-duplicate')]).toEqual([200, '1']);
    expect(seen.map((bytes) => [...bytes])).toEqual([[...sent.body]]);
    const headers = { 'content-type': 'application/json' };
    const other = await fetch(url.replace('/hook', '/other'), { method: 'POST', headers, body: '{"a":1}' });
    expect(await other.json()).toEqual({ a: 1 });
  });

  it.each([
    ['express.json()', express.json()],
    ['express.text()', express.text({ type: '*/*' })],
  ])('behind %s: says what is wrong, however often, and runs nothing', async (_, parser) => {
    const { seen, post } = await serve((app, webhook) => {
      app.use(parser);
      app.post('/hook', webhook);
    });
    for (let n = 0; n < 2; n++) {
      const refused = await post({ secret, body: { a: 1 } });
      expect(refused.status).toBe(500);
      expect(await refused.json()).toMatchObject({
        title: 'A body parser ran before the webhook',
        detail: expect.stringContaining('express.json()') as string,
      });
    }
    expect(seen).toEqual([]);
  });

  it.each([
    ['express.raw(), which keeps the bytes', express.raw({ type: '*/*' })],
    ['a parser of another content type', express.urlencoded({ extended: false })],
  ])('behind %s: works, an empty body too', async (_, parser) => {
    const { seen, post } = await serve((app, webhook) => {
      app.use(parser);
      app.post('/hook', webhook);
    });
    expect((await post({ secret, body: { a: 1 } })).status).toBe(200);
    expect((await post({ secret, body: new Uint8Array() })).status).toBe(200);
    expect(seen.map(({ byteLength }) => byteLength)).toEqual([7, 0]);
  });

  it('refuses a wrong signature, another method, and a body that is too large', async () => {
    const { seen, url, post } = await serve((app, webhook) => void app.all('/hook', webhook));
    const other = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
    expect((await post({ secret: other, body: 1 })).status).toBe(401);
    expect((await fetch(url)).status).toBe(405);
    expect((await post({ secret, body: 'x'.repeat(2_000) })).status).toBe(413);
    expect(seen).toEqual([]);
  });
});
