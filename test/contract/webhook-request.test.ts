/** The contract of `PostWebhook`, held against global fetch and against Node's agent, with receivers that misbehave. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { createWebhookAgent, type ResolveName } from '../../functions/node/webhook-request.ts';
import { systemClock, type Clock } from '../../shared/clock.ts';
import { strictAddressPolicy } from '../../shared/webhook/address.ts';
import { maxAnswerBytes, postWebhook, type PostWebhook } from '../../shared/webhook/request.ts';

const development = { allowHttp: true, allowLoopback: true };
const anError = { error: expect.stringMatching(/./) as unknown };
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

/** A clock whose timers go off when the test says so. */
function createManualClock() {
  const tasks = new Set<() => void>();
  const clock: Pick<Clock, 'after'> = {
    after(_delayMs, task) {
      tasks.add(task);
      return () => tasks.delete(task);
    },
  };
  return { clock, tasks, fire: () => tasks.forEach((task) => task()) };
}

const makers: Record<string, (clock: Pick<Clock, 'after'>) => PostWebhook> = {
  'global fetch': (clock) => (request) => postWebhook({ fetch, clock }, request),
  'the agent of Node': (clock) => {
    const agent = createWebhookAgent({ clock }, { policy: development });
    closers.push(() => agent.close());
    return agent.post;
  },
};

async function listen(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // receivers here break connections on purpose
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Serves HTTP and remembers the requests, with their bodies. */
async function serve(listener: RequestListener) {
  const seen: { request: IncomingMessage; body: Buffer }[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      seen.push({ request, body: Buffer.concat(parts) });
      listener(request, response);
    });
  });
  let connections = 0;
  server.on('connection', () => connections++);
  return { seen, url: await listen(server), connections: () => connections };
}

/** Resolves with the response of the next request, once the receiver has the whole request. */
async function serveByHand() {
  const waiting = Promise.withResolvers<ServerResponse>();
  const served = await serve((_request, response) => waiting.resolve(response));
  return { ...served, response: waiting.promise };
}

function order(url: string, body: Uint8Array = Buffer.from('{}')) {
  return { url, headers: { 'content-type': 'application/json' }, body, timeoutMs: 10_000 };
}

describe.each(Object.keys(makers))('a webhook call by %s', (name) => {
  const create = (clock: Pick<Clock, 'after'> = systemClock): PostWebhook => {
    const make = makers[name];
    if (!make) throw new Error(name);
    return make(clock);
  };

  it('carries the bytes and headers as they are, and asks for no compression', async () => {
    const { url, seen } = await serve((_request, response) => response.end('ok'));
    const body = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
    const answer = await create()({
      ...order(`${url}/hook?shop=1`, body),
      headers: { 'webhook-id': 'msg_1', 'accept-encoding': 'gzip' },
    });
    expect(answer).toMatchObject({ status: 200, excerpt: '' });
    expect(seen[0]?.request).toMatchObject({ method: 'POST', url: '/hook?shop=1' });
    expect(seen[0]?.request.headers).toMatchObject({ 'webhook-id': 'msg_1', 'accept-encoding': 'identity' });
    expect(seen[0]?.body.equals(body)).toBe(true);
  });

  it('tells status, headers and the first KiB of a failure', async () => {
    const { url } = await serve((_request, response) => {
      response.writeHead(503, { 'Retry-After': '7' }).end(`out\u0000 of\nstock ${'x'.repeat(5_000)}`);
    });
    const answer = await create()(order(url));
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '7' } });
    expect('excerpt' in answer && answer.excerpt).toMatch(/^out of stock x{1000,1012}…$/);
  });

  it('takes an answer without a body', async () => {
    const { url } = await serve((_request, response) => response.writeHead(204).end());
    expect(await create()(order(url))).toMatchObject({ status: 204, excerpt: '' });
  });

  it('waits for the final answer behind an informational one', async () => {
    const { url } = await serve((_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.writeHead(409).end('busy');
    });
    expect(await create()(order(url))).toMatchObject({ status: 409, excerpt: 'busy' });
  });

  it.each([
    ['another path', '/elsewhere'],
    ['itself, for ever', '/'],
    ['the metadata service', 'http://169.254.169.254/latest/meta-data/'],
  ])('does not follow a redirect to %s', async (_target, location) => {
    const { url, seen } = await serve((_request, response) => response.writeHead(307, { location }).end());
    expect(await create()(order(url))).toMatchObject({ status: 307 });
    expect(seen).toHaveLength(1);
  });

  it('ends when its time is over and the receiver has said nothing, and drops the connection', async () => {
    const { clock, fire } = createManualClock();
    const { url, response } = await serveByHand();
    const answer = create(clock)(order(url));
    const closed = once(await response, 'close');
    fire();
    expect(await answer).toEqual({ error: 'No complete answer within 10000 ms' });
    await closed;
  });

  it('ends when its time is over although the receiver drips byte after byte', async () => {
    const { clock, fire } = createManualClock();
    const { url, response } = await serveByHand();
    const answer = create(clock)(order(url));
    const dripping = await response;
    dripping.writeHead(200);
    const drip = setInterval(() => dripping.write('.'), 5);
    const closed = once(dripping, 'close');
    await new Promise((resolve) => dripping.write('.', resolve));
    fire();
    expect(await answer).toEqual({ error: 'No complete answer within 10000 ms' });
    await closed;
    clearInterval(drip);
  });

  it('leaves no timer behind', async () => {
    const { clock, tasks } = createManualClock();
    const { url } = await serve((_request, response) => response.end());
    const post = create(clock);
    await post(order(url));
    await post(order('http://127.0.0.1:1/'));
    expect(tasks.size).toBe(0);
  });

  it('reads 64 KiB of an endless body and drops the connection; the status counts', async () => {
    const { url, response } = await serveByHand();
    const answer = create()(order(url));
    const endless = await response;
    const closed = once(endless, 'close');
    endless.writeHead(500);
    const part = Buffer.alloc(maxAnswerBytes / 4, 'x');
    const pour = (): void => {
      while (!endless.destroyed && endless.write(part));
      endless.once('drain', pour);
    };
    pour();
    expect(await answer).toMatchObject({ status: 500, excerpt: `${'x'.repeat(1_024)}…` });
    await closed;
  });

  it('keeps connections, also after a body of exactly 64 KiB', async () => {
    const { url, connections } = await serve((_request, response) =>
      response.end(Buffer.alloc(maxAnswerBytes)),
    );
    const post = create();
    for (let call = 0; call < 20; call++) expect(await post(order(url))).toMatchObject({ status: 200 });
    // Two, because the second call begins in the moment in which the first connection is being put back.
    expect(connections()).toBeLessThanOrEqual(2);
  });

  it('does not inflate a bomb of 200 MiB', async () => {
    const { url } = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb());
    });
    const beforeBytes = process.memoryUsage().rss;
    expect(await create()(order(url))).toMatchObject({ status: 200 });
    expect(process.memoryUsage().rss - beforeBytes).toBeLessThan(100 * 2 ** 20);
  });

  it.each([
    ['closes before an answer', (socket: Socket) => socket.destroy()],
    ['resets before an answer', (socket: Socket) => socket.resetAndDestroy()],
    [
      'resets amid the body',
      (socket: Socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', () => socket.resetAndDestroy());
      },
    ],
    [
      'promises more than it sends',
      (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'),
    ],
    ['speaks no HTTP', (socket: Socket) => socket.end('220 mail.example.com ESMTP\r\n')],
    [
      'sends a megabyte of headers',
      (socket: Socket) => socket.end(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(2 ** 20)}\r\n\r\n`),
    ],
    [
      'sends a chunk of nonsense',
      (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n'),
    ],
  ])('is an error, not an exception, when the receiver %s', async (_name, misbehave) => {
    const url = await listen(createTcpServer((socket) => void socket.once('data', () => misbehave(socket))));
    const answer = await create()(order(url));
    expect(answer).toEqual(anError);
  });

  it.each(['http://127.0.0.1:1/', 'http://nowhere.invalid/', 'no url'])('is an error for %s', async (url) => {
    expect(await create()(order(url))).toEqual(anError);
  });
});

describe('the agent of Node', () => {
  /** An agent whose names resolve to what the test says, one list per look-up. */
  function createResolving(answers: readonly string[][], policy = development) {
    const asked: string[] = [];
    const resolve: ResolveName = (hostname, done) => {
      const addresses = answers[asked.push(hostname) - 1] ?? [];
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    };
    const agent = createWebhookAgent({ clock: systemClock, resolve }, { policy });
    closers.push(() => agent.close());
    return { asked, post: agent.post };
  }

  const named = (url: string) => url.replace('127.0.0.1', 'shop.example.com');
  const refused = { error: expect.stringMatching(/not allowed/) as string };

  it('dials the address that was checked and keeps the name in the request', async () => {
    const { url, seen } = await serve((_request, response) => response.end());
    const { post, asked } = createResolving([['127.0.0.1']]);
    expect(await post(order(named(url)))).toMatchObject({ status: 200 });
    expect(asked).toEqual(['shop.example.com']);
    expect(seen[0]?.request.headers.host).toMatch(/^shop\.example\.com:/);
  });

  it('refuses a name that is bound to an inner address after its first use', async () => {
    const { url, seen } = await serve((_request, response) =>
      response.setHeader('connection', 'close').end(),
    );
    const { post, asked } = createResolving([['127.0.0.1'], ['10.0.0.1']]);
    expect(await post(order(named(url)))).toMatchObject({ status: 200 });
    expect(await post(order(named(url)))).toEqual(refused);
    expect(asked).toHaveLength(2);
    expect(seen).toHaveLength(1);
  });

  it.each([
    [['127.0.0.1']],
    [['8.8.8.8', '127.0.0.1']],
    [['127.0.0.1', '8.8.8.8']],
    [['::1']],
    [['::ffff:127.0.0.1']],
    [['64:ff9b::7f00:1']],
    [['169.254.169.254']],
    [['nonsense']],
  ])('refuses a name that resolves to %j', async (addresses) => {
    const { url, seen } = await serve((_request, response) => response.end());
    const { post } = createResolving([addresses], strictAddressPolicy);
    expect(await post(order(named(url)))).toEqual(refused);
    expect(seen).toHaveLength(0);
  });

  it.each([
    'http://127.0.0.1',
    'http://2130706433',
    'http://[::1]',
    'http://[::ffff:7f00:1]',
    'https://127.1',
    'http://169.254.169.254',
  ])('refuses the address %s itself, without a look-up', async (origin) => {
    const { post, asked } = createResolving([], strictAddressPolicy);
    expect(await post(order(`${origin}:8080/`))).toEqual(refused);
    expect(asked).toEqual([]);
  });

  it('says so when a name has no address', async () => {
    const { post } = createResolving([[]]);
    expect(await post(order('http://shop.example.com/'))).toEqual({
      error: 'shop.example.com has no address',
    });
  });

  it('never sends a call whose time was over while it waited for a connection', async () => {
    const { clock, fire, tasks } = createManualClock();
    const { url, seen, response } = await serveByHand();
    const agent = createWebhookAgent({ clock }, { policy: development, connections: 1 });
    const first = agent.post(order(url));
    const held = await response;
    const [timerOfFirst] = tasks;
    const second = agent.post(order(url));
    if (timerOfFirst) tasks.delete(timerOfFirst);
    fire();
    expect(await second).toEqual({ error: 'No complete answer within 10000 ms' });
    held.end();
    expect(await first).toMatchObject({ status: 200 });
    await agent.close();
    expect(seen).toHaveLength(1);
  });
});

/** 200 MiB of zeros in 200 KiB of gzip: members may follow each other in one stream (RFC 1952 §2.2). */
function bomb(): Buffer {
  const member = gzipSync(Buffer.alloc(2 ** 20));
  return Buffer.concat(Array.from({ length: 200 }, () => member));
}
