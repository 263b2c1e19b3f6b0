/**
 * Publishing: requests per second at 64 connections, on Node and on workerd, beside what one would write oneself. What
 * is compared takes turns, a round each, so that a moment in which the machine is busy otherwise hits both.
 */
import path from 'node:path';
import { directSettings, bridgeSettings } from '../stack/deployment.ts';
import { repoDir } from '../stack/ports.ts';
import type { Stack } from '../stack/stack.ts';
import type { ConfirmsReport } from './bare-confirms.ts';
import { startChild, startScript, type Child } from './child.ts';
import { generateLoad, prime, type Request } from './load.ts';
import { compare, summarize, withUsage, type Measurement, type Round } from './measurement.ts';
import { serveBareObject, serveSetway } from './workerd.ts';
import { createBareQueue, placeHeaders, publishTopic, purgeQueue, type Report, type World } from './world.ts';

export interface BenchParts {
  readonly stack: Stack;
  readonly report: Report;
  /** Of one measurement. */
  readonly seconds: number;
}

export const connections = 64;
const rounds = 2;
const confirmsWindow = 500;

/** 200 bytes of JSON, as many as the bodies that are compared have. */
export const payload = JSON.stringify({ order: 4711, note: 'x'.repeat(178) });

/** A server under load, and how to send to it. */
interface Contender {
  readonly name: string;
  readonly server: Child;
  readonly url: string;
  readonly request: Request;
  /** After a round: what was published goes. */
  readonly clean: () => Promise<void>;
}

/** @param mode `confirm` is the default of a publish, so a client does not name it */
export function setwayRequest(
  { apiKey }: World,
  topic: string,
  mode: 'fast' | 'confirm',
  headers = {},
): Request {
  return {
    path: '/v1/messages',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      accept: '*/*',
      'user-agent': 'bench',
      ...placeHeaders,
      ...headers,
    },
    body: `{"topic":"${topic}",${mode === 'fast' ? '"mode":"fast",' : ''}"body":${payload}}`,
  };
}

/** Enough that a request costs little beside its messages, few enough for a client to gather in a moment. */
const bulkSize = 100;

/** Waits for the confirms: what is counted is stored and with the broker. */
function bulkRequest(world: World, topic: string): Request {
  const one = setwayRequest(world, topic, 'confirm', { prefer: 'wait=10' });
  return {
    ...one,
    path: '/v1/messages/bulk',
    body: `[${Array.from({ length: bulkSize }, () => one.body).join(',')}]`,
  };
}

/** A figure of bulk requests as one of their messages; latencies stay those of a request. */
function inMessages(measured: Measurement): Measurement {
  const { cpuUs } = measured;
  const perMessage = cpuUs === undefined ? {} : { cpuUs: cpuUs / bulkSize };
  return { ...measured, ...perMessage, rate: measured.rate * bulkSize, unit: 'messages/s' };
}

const plainRequest: Request = {
  path: '/',
  headers: { 'content-type': 'application/json', accept: '*/*', 'user-agent': 'bench' },
  body: payload,
};

/** Setway on Node, as `npm run start:node` runs it, without the development settings. */
export function startSetwayOnNode({ stack }: BenchParts, world: World): Promise<Child> {
  return startChild({
    name: 'Setway on Node',
    command: process.execPath,
    args: [...nodeOptions(), path.join(repoDir, 'functions', 'node', 'server.ts')],
    env: { ...world.settings, ...directSettings(stack.addresses), SETWAY_PORT: String(stack.ports.node) },
    ready: /listens at (\S+)/,
  });
}

/** For a profile of the server: `BENCH_NODE_OPTIONS="--cpu-prof --cpu-prof-dir=…" npm run bench`. */
function nodeOptions(): readonly string[] {
  return (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');
}

export function startSetwayOnWorkerd({ stack }: BenchParts, world: World): Promise<Child> {
  const settings = { ...world.settings, ...bridgeSettings(stack.addresses), SETWAY_PLATFORM: 'cloudflare' };
  return serveSetway({ dir: path.join(stack.addresses.dir, 'setway'), port: stack.ports.edge, settings });
}

export async function benchLoadGenerator(parts: BenchParts): Promise<Measurement> {
  const server = await startScript('noop-server.ts');
  const contender = {
    name: 'no-op HTTP server',
    server,
    url: server.url,
    request: plainRequest,
    clean: nothing,
  };
  const [measured] = await takeTurns({ ...parts, seconds: Math.min(parts.seconds, 4) }, [contender]);
  await server.stop();
  if (!measured) throw new RangeError('The load generator measured nothing.');
  return measured;
}

async function nothing(): Promise<void> {}

/** @returns (a), (b), (c), (e), and Setway on Node beside them */
export async function benchPublishOnNode(parts: BenchParts, world: World): Promise<readonly Measurement[]> {
  const { stack } = parts;
  const confirms = await measureConfirms(parts);
  const management = await measureManagement(parts);
  const bareQueue = await createBareQueue(stack, 'bare-publisher');
  const bare = await startScript('bare-publisher.ts', bareQueue.env);
  const plainQueue = await createBareQueue(stack, 'plain-publisher');
  const plain = await startScript('plain-publisher.ts', plainQueue.env);
  const node = await startSetwayOnNode(parts, world);
  const clean = () => world.purge(publishTopic);
  const setway = { server: node, url: node.url, clean };
  const withKey = { 'idempotency-key': 'bench-{number---}' };
  const measured = await takeTurns(parts, [
    {
      name: 'bare HTTP + amqplib confirm (a)',
      server: bare,
      url: bare.url,
      request: plainRequest,
      clean: () => purgeQueue(stack, bareQueue.vhost, bareQueue.queue),
    },
    {
      name: "Setway's libraries alone (e)",
      server: plain,
      url: plain.url,
      request: setwayRequest(world, publishTopic, 'fast'),
      clean: () => purgeQueue(stack, plainQueue.vhost, plainQueue.queue),
    },
    { ...setway, name: 'Node, fast', request: setwayRequest(world, publishTopic, 'fast') },
    { ...setway, name: 'Node, confirm', request: setwayRequest(world, publishTopic, 'confirm') },
    {
      ...setway,
      name: 'Node, confirm, Idempotency-Key',
      request: setwayRequest(world, publishTopic, 'confirm', withKey),
    },
    { ...setway, name: `Node, bulk of ${bulkSize}, confirm`, request: bulkRequest(world, publishTopic) },
  ]);
  await Promise.all([bare.stop(), plain.stop(), node.stop()]);
  const [a, e, fast, confirm, keyed, bulk] = measured;
  if (!a || !e || !fast || !confirm || !keyed || !bulk)
    throw new RangeError('A publish measurement is missing.');
  return [
    a,
    management,
    confirms,
    compare(e, a),
    compare(compare(fast, a, 0.8), e),
    compare(compare(confirm, a, 0.5), management, 4),
    compare(keyed, a),
    compare(inMessages(bulk), confirms, 0.5),
  ];
}

/** @returns (d), and Setway on workerd beside it */
export async function benchPublishOnWorkerd(
  parts: BenchParts,
  world: World,
): Promise<readonly Measurement[]> {
  const { stack } = parts;
  const bareQueue = await createBareQueue(stack, 'bare-object');
  const dir = path.join(stack.addresses.dir, 'bare-object');
  const bare = await serveBareObject({ dir, port: stack.ports.webhooks + 1, settings: bareQueue.env });
  const workerd = await startSetwayOnWorkerd(parts, world);
  const clean = () => world.purge(publishTopic);
  const setway = { server: workerd, url: workerd.url, clean };
  const measured = await takeTurns(parts, [
    {
      name: 'workerd, bare Durable Object (d)',
      server: bare,
      url: bare.url,
      request: plainRequest,
      clean: () => purgeQueue(stack, bareQueue.vhost, bareQueue.queue),
    },
    { ...setway, name: 'workerd, fast', request: setwayRequest(world, publishTopic, 'fast') },
    { ...setway, name: 'workerd, confirm', request: setwayRequest(world, publishTopic, 'confirm') },
  ]);
  await Promise.all([bare.stop(), workerd.stop()]);
  const [d, fast, confirm] = measured;
  if (!d || !fast || !confirm) throw new RangeError('A publish measurement is missing.');
  return [d, compare(fast, d), compare(confirm, d, 0.5)];
}

/** Each server must have compiled its hot path before it is measured; later rounds only reconnect. */
const firstWarmupShare = 0.5;
const laterWarmupSeconds = 0.5;

async function takeTurns(
  { report, seconds }: BenchParts,
  contenders: readonly Contender[],
): Promise<readonly Measurement[]> {
  const results = contenders.map((): Round[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { name, server, url, request, clean }] of contenders.entries()) {
      if (round === 0) await prime({ ...request, url });
      const warmupSeconds = round === 0 ? seconds * firstWarmupShare : Math.min(laterWarmupSeconds, seconds);
      const plan = {
        ...request,
        url,
        connections,
        warmupSeconds,
        seconds: seconds / rounds,
        maxRequests: Infinity,
      };
      const { result, ...usage } = await withUsage(server, () => generateLoad(plan));
      results[index]?.push({ report: result, ...usage });
      const refused = Object.values(result.refusals).reduce((sum, each) => sum + each, 0);
      const rate = Math.round(result.answers / result.seconds);
      const without = refused === 0 ? '' : `, without ${refused} refused ones`;
      report(`${name}: ${rate} requests/s${without} (${round + 1} of ${rounds})`);
      await clean();
    }
  }
  return contenders.map(({ name }, index) => summarize(name, results[index] ?? []));
}

/** RabbitMQ's own HTTP publish: https://www.rabbitmq.com/docs/http-api-reference (`/api/exchanges/…/publish`). */
async function measureManagement({ stack, seconds, report }: BenchParts): Promise<Measurement> {
  const name = "RabbitMQ's HTTP publish (b)";
  const { vhost, queue, env } = await createBareQueue(stack, 'management');
  await declareQueue(env);
  const { origin, username, password } = new URL(stack.managementUrl);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const result = await generateLoad({
    url: origin,
    path: `/api/exchanges/${vhost}/amq.default/publish`,
    headers: {
      ...plainRequest.headers,
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
    },
    body: JSON.stringify({
      properties: { delivery_mode: 2, content_type: 'application/json' },
      routing_key: queue,
      payload,
      payload_encoding: 'string',
    }),
    connections,
    warmupSeconds: Math.min(laterWarmupSeconds, seconds),
    seconds: seconds / rounds,
    maxRequests: Infinity,
  });
  await purgeQueue(stack, vhost, queue);
  const {
    cpuUs: _cpuUs,
    rssMiB: _rssMiB,
    ...measured
  } = summarize(name, [{ report: result, cpuMs: 0, rssBytes: 0 }]);
  report(`${name}: ${Math.round(measured.rate)} requests/s`);
  return measured;
}

/** By the script that publishes there, with no message to publish. */
async function declareQueue(env: Readonly<Record<string, string>>): Promise<void> {
  const script = await startScript('bare-confirms.ts', env);
  await script.stop();
}

async function measureConfirms({ stack, seconds, report }: BenchParts): Promise<Measurement> {
  const name = `amqplib, ${confirmsWindow} pipelined confirms (c)`;
  const { vhost, queue, env } = await createBareQueue(stack, 'confirms');
  const child = await startScript('bare-confirms.ts', env);
  const plan = { body: payload, window: confirmsWindow, maxMessages: Infinity };
  await child.ask<ConfirmsReport>({ ...plan, seconds: Math.min(laterWarmupSeconds, seconds) });
  const { result, cpuMs, rssBytes } = await withUsage(child, () =>
    child.ask<ConfirmsReport>({ ...plan, seconds: seconds / rounds }),
  );
  await child.stop();
  await purgeQueue(stack, vhost, queue);
  const rate = result.confirmed / result.seconds;
  report(`${name}: ${Math.round(rate)} messages/s`);
  const cpuUs = (cpuMs * 1000) / result.confirmed;
  return { name, rate, unit: 'messages/s', cpuUs, rssMiB: rssBytes / 2 ** 20 };
}
