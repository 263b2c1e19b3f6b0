/** What only a real socket can send: the request line as it comes, chunked bodies, clients that go away. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { serve } from '@hono/node-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../functions/app.ts';
import { openEdge } from './edge.ts';

const maxBodyBytes = 4096;
const edge = openEdge({ limits: { maxBodyBytes, maxBulkBytes: maxBodyBytes } });
const key = edge.keyFor(['publish', 'read']);
let server: ReturnType<typeof serve>;

beforeAll(async () => {
  server = serve({
    fetch: createApp(edge.services, (entry) => void edge.log.push(entry)).fetch,
    port: 0,
    hostname: '127.0.0.1',
    serverOptions: { maxHeaderSize: 64 * 1024 },
  });
  if (!server.listening) await once(server, 'listening');
});

afterAll(async () => {
  server.close();
  await once(server, 'close');
});

function open() {
  return connect((server.address() as AddressInfo).port, '127.0.0.1');
}

/** Sends text as it is and answers everything that comes back until the server closes. */
async function exchange(text: string): Promise<string> {
  const socket = open();
  socket.write(text);
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

function request(line: string, headers: readonly string[] = [], body = ''): string {
  const all = ['Host: edge', 'Connection: close', `Authorization: Bearer ${key}`, ...headers];
  return `${line} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n${body}`;
}

const statusOf = (answer: string) => Number(answer.split(' ')[1]);
const good = '{"topic":"orders","body":1}';
const jsonOf = (length: number) => ['Content-Type: application/json', `Content-Length: ${length}`];

describe('over a real socket', () => {
  it('a publish is taken', async () => {
    expect(statusOf(await exchange(request('POST /v1/messages', jsonOf(good.length), good)))).toBe(202);
  });

  it.each([
    '//v1/sets',
    '/v1//sets',
    '/v1/x/../sets',
    '/v1/x/%2e%2e/sets',
    '/v1/%2e/sets',
    '/./v1/sets',
    '/%76%31/sets',
  ])('the path %s → 404', async (path) => {
    const answer = await exchange(request(`GET ${path}`));
    expect(statusOf(answer)).toBe(404);
    expect(answer).toContain('application/problem+json');
  });

  it('headers over 32 KB → 431, a URL over 16 KB → 414', async () => {
    expect(statusOf(await exchange(request('GET /v1/sets', [`x-long: ${'a'.repeat(33_000)}`])))).toBe(431);
    expect(statusOf(await exchange(request(`GET /v1/sets?${'a'.repeat(17_000)}`)))).toBe(414);
  });

  it('a chunked body over the limit → 413', async () => {
    const chunk = `1000\r\n${' '.repeat(4096)}\r\n`;
    const headers = ['Content-Type: application/json', 'Transfer-Encoding: chunked'];
    expect(
      statusOf(await exchange(request('POST /v1/messages', headers, `${chunk}1\r\n \r\n0\r\n\r\n`))),
    ).toBe(413);
  });

  it('a chunked body within the limit is taken', async () => {
    const headers = ['Content-Type: application/json', 'Transfer-Encoding: chunked'];
    const body = `5\r\n${good.slice(0, 5)}\r\n${(good.length - 5).toString(16)}\r\n${good.slice(5)}\r\n0\r\n\r\n`;
    expect(statusOf(await exchange(request('POST /v1/messages', headers, body)))).toBe(202);
  });

  it('a client that goes away in the middle of its body publishes nothing', async () => {
    const before = edge.published.length;
    const counted = () =>
      edge.services.telemetry
        .snapshot()
        .filter((sample) => sample.name === 'setway_http_requests_total' && sample.labels[1] === 408)
        .reduce((sum, sample) => sum + sample.value, 0);
    const socket = open();
    await once(socket, 'connect');
    const arrived = once(server, 'request');
    socket.write(request('POST /v1/messages', jsonOf(good.length), good.slice(0, 10)));
    await arrived;
    socket.destroy();
    await expect.poll(counted, { timeout: 5_000 }).toBe(1);
    expect(edge.published).toHaveLength(before);
    expect(statusOf(await exchange(request('POST /v1/messages', jsonOf(good.length), good)))).toBe(202);
    expect(edge.log).toEqual([]);
  });
});
