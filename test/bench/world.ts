/**
 * Where the benchmark runs: a fresh stack of its own, and a deployment of Setway on it per platform. Every
 * subscription begins paused: its queue fills, and nothing is delivered before a measurement wakes it.
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { createVhost } from '../stack/addresses.ts';
import { deploy, type Deployment } from '../stack/deployment.ts';
import { repoDir, stackPlace } from '../stack/ports.ts';
import { callManagement } from '../stack/rabbitmq.ts';
import { startStack, type Stack } from '../stack/stack.ts';

/** Beside the ports of `npm start` (18700) and `npm test` (19700 and up). */
const benchPortBase = 30_700;

export type Report = (line: string) => void;

export function startBenchStack(report: Report): Promise<Stack> {
  const fallback = { portBase: benchPortBase, dir: path.join(repoDir, '.setway', 'bench') };
  return startStack({ ...stackPlace(process.env, fallback), data: 'fresh', log: report });
}

/** Where requests come from: Hangzhou, so that every message goes to the SET of that name. */
export const placeHeaders = { 'setway-latitude': '30.27', 'setway-longitude': '120.16' };
const nearestSet = 'hangzhou';

/** The topic of the publish measurements; its one subscription stays paused. */
export const publishTopic = 'published';

export interface World {
  readonly apiKey: string;
  readonly settings: Deployment['settings'];
  /** Wakes the subscriptions of these topics, and puts the others to sleep. */
  wake(...topics: readonly string[]): Promise<void>;
  /** Empties the queue of a topic's subscription. */
  purge(topic: string): Promise<void>;
  /** The database of the SET that takes every message. */
  readonly databaseUrl: string;
}

/** The topic of twenty subscriptions that are well, and that of one that hangs and one that answers 500. */
export const isolatedTopic = 'isolated';
export const troubledTopic = 'troubled';
const isolated = 20;

/** Topic and subscription of the ordered deliveries through so many lanes. */
export function orderedTopic(lanes: number): string {
  return `ordered-${lanes}`;
}

/** Open-ended order of one key, and of many side by side. */
export const laneCounts = [1, 1_000] as const;
/** Webhook calls under way at once: lanes share them. */
const orderedConcurrency = 256;

/** What the webhook does with a call: nothing, or what a consumer does that runs its handler once. */
export type Receiving = 'plain' | 'guarded';

/** Topic and subscription of the deliveries at one concurrency. */
export function deliveryTopic(concurrency: number, receiving: Receiving): string {
  return `delivered-${receiving}-${concurrency}`;
}

export async function createWorld(
  stack: Stack,
  prefix: string,
  target: {
    readonly receiverUrl: string;
    /** Signs every call. */
    readonly secret: string;
    readonly concurrencies: readonly number[];
    /** See isolation-bench.ts. */
    readonly isolationUrl: string;
  },
): Promise<World> {
  const topics = [
    { name: publishTopic, concurrency: 32, path: '' },
    ...target.concurrencies.flatMap((concurrency) => [
      { name: deliveryTopic(concurrency, 'plain'), concurrency, path: '' },
      { name: deliveryTopic(concurrency, 'guarded'), concurrency, path: '/guarded' },
    ]),
    ...laneCounts.map((lanes) => ({ name: orderedTopic(lanes), concurrency: orderedConcurrency, path: '' })),
  ];
  const subscribed = topics.map(({ name, concurrency, path: receiving }) => ({
    name,
    concurrency,
    topic: name,
    endpoint: { url: target.receiverUrl + receiving },
  }));
  const isolating = [
    ...Array.from({ length: isolated }, (_, n) => ({ name: `fine-${n}`, topic: isolatedTopic, at: '/fine' })),
    ...['hanging', 'broken'].map((name) => ({ name, topic: troubledTopic, at: `/${name}` })),
  ].map(({ at, ...each }) => ({ ...each, concurrency: 32, endpoint: { url: target.isolationUrl + at } }));
  const subscriptions = [...subscribed, ...isolating].map((each) => ({
    ...each,
    owner: 'demo',
    secrets: [target.secret],
    status: 'paused' as const,
  }));
  const { seed, apiKey, settings, databaseUrls } = await deploy(
    stack.addresses,
    prefix,
    () => undefined,
    (demo) => ({
      ...demo,
      topics: [...new Set(subscriptions.map(({ topic }) => topic))].map((name) => ({ name, owner: 'demo' })),
      subscriptions,
    }),
  );
  return {
    apiKey,
    // The default of 5 s only makes us wait longer for what `wake` changes.
    settings: { ...settings, SETWAY_CATALOG_MAX_AGE_MS: '1000' },
    wake: (...awake) =>
      applyCatalog(stack, settings, {
        ...seed,
        subscriptions: subscriptions.map((each) => ({
          ...each,
          status: awake.includes(each.topic) ? ('active' as const) : each.status,
        })),
      }),
    databaseUrl: databaseUrls[nearestSet] ?? '',
    purge: (topic) => purgeQueue(stack, `${prefix}_${nearestSet}`, `setway.sub.${topic}`),
  };
}

/** By the operator's own command. */
async function applyCatalog(stack: Stack, settings: Deployment['settings'], seed: SeedInput): Promise<void> {
  const file = path.join(stack.addresses.dir, 'catalog.json');
  await writeFile(file, JSON.stringify(seed));
  const env = { ...process.env, ...settings, SETWAY_REDIS_URL: stack.redisUrl };
  const command = path.join(repoDir, 'functions', 'cli', 'main.ts');
  await promisify(execFile)(process.execPath, [command, 'apply', file], { env });
}

export async function purgeQueue(stack: Stack, vhost: string, queue: string): Promise<void> {
  const name = `${encodeURIComponent(vhost)}/${encodeURIComponent(queue)}`;
  await callManagement(stack.managementUrl, 'DELETE', `/api/queues/${name}/contents`);
}

/** A vhost and a queue for what is compared with Setway. @returns what its scripts want in their environment */
export async function createBareQueue(
  stack: Stack,
  name: string,
): Promise<{
  readonly vhost: string;
  readonly queue: string;
  readonly env: Readonly<Record<string, string>>;
}> {
  const vhost = 'bare';
  await createVhost(stack.addresses, vhost);
  return { vhost, queue: name, env: { BENCH_AMQP_URL: stack.amqpUrl(vhost), BENCH_QUEUE: name } };
}
