/** The broker room inside workerd, in a Durable Object, as it runs on Cloudflare. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import path from 'node:path';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { useStack } from '../stack/current-stack.ts';
import type { BrokerObject } from './broker-object.ts';

const className: keyof { BrokerObject: BrokerObject } = 'BrokerObject';
const entry = `
  export { ${className} } from './broker-object.ts';
  export default { fetch: (request, env) => env.BROKER.get(env.BROKER.idFromName('one')).fetch(request) };
`;

let miniflare: Miniflare;
let line: Line;

beforeAll(async () => {
  const { amqpUrl } = await useStack().createCorner('workerd');
  line = await openLine(new URL(amqpUrl));
  const url = new URL(amqpUrl);
  url.port = String(line.port);
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: await bundle(),
      compatibilityDate: '2026-10-01',
      compatibilityFlags: ['nodejs_compat'],
      durableObjects: { BROKER: className },
      bindings: { AMQP_URL: url.href },
      cf: false,
    }),
  );
});

afterAll(async () => {
  await miniflare.dispose();
  line.close();
});

test('publishing, returns, fast publishing and consuming work across requests', async () => {
  await step('/provision');
  expect(await step('/publish')).toEqual(['confirmed', 'unroutable', 'confirmed']);
  expect(await step('/publish-to-nowhere')).toEqual(['unknown']);
  await step('/publish-fast');
  expect(await step('/drain')).toEqual({ 'a.b': 1, 'a.c': 1, 'a.fast': 500 });
});

test('a broken line comes back by itself', async () => {
  line.cut();
  // Unknown while RabbitMQ's answer to the cut is on its way; confirmed once it is back.
  const outcomes = await Promise.all([step('/publish'), line.restored()]).then(() => step('/publish'));
  expect(outcomes).toEqual(['confirmed', 'unroutable', 'confirmed']);
  expect(await step('/close')).toBe('disconnected');
});

async function step(pathname: string): Promise<unknown> {
  const response = await miniflare.dispatchFetch(`http://object${pathname}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text);
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: path.join(import.meta.dirname), loader: 'ts' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'es2024',
    // amqplib is CommonJS: its requires of Node's modules must find them.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire('/');" },
    external: ['node:*', 'cloudflare:*'],
  });
  return outputFiles[0]?.text ?? '';
}

/** A TCP line to RabbitMQ that can be cut. */
interface Line {
  readonly port: number;
  cut(): void;
  /** Resolves when two connections, for publishing and for consuming, were made since the cut. */
  restored(): Promise<void>;
  close(): void;
}

async function openLine(target: URL): Promise<Line> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    async restored() {
      await once(server, 'connection');
      await once(server, 'connection');
    },
    close() {
      cut();
      server.close();
    },
  };
}
