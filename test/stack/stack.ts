/**
 * A whole local stack: real RabbitMQ, Redis and Postgres, and the HTTP bridges that let workerd reach the last two.
 * Its servers are ours alone (ports, folders, cookies), so several stacks run side by side.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { serveNeonBridge } from '../../functions/node/neon-bridge.ts';
import { serveUpstashBridge } from '../../functions/node/upstash-bridge.ts';
import { amqpUrlOf, createDatabase, createVhost, postgresUrlOf, type StackAddresses } from './addresses.ts';
import { createComposeBroker, createComposePart, eraseCompose } from './compose.ts';
import { expectFreePorts } from './free-ports.ts';
import { findSources, type Sources } from './packages.ts';
import type { BrokerPart, Log, Part } from './part.ts';
import { portsFrom, type Ports, type StackPlace } from './ports.ts';
import { checkPostgres, createPostgres, erasePostgres, postgresUrlAt } from './postgres.ts';
import { amqpUrlAt, checkRabbitmq, createRabbitmq, managementUrlAt } from './rabbitmq.ts';
import { checkRedis, createRedis } from './redis.ts';
import { stopLeftovers } from './server-process.ts';

export interface StackOptions extends StackPlace {
  readonly log: Log;
  /** `fresh` erases the data of earlier runs first; `kept` reuses it. */
  readonly data: 'fresh' | 'kept';
  readonly env?: NodeJS.ProcessEnv;
}

export interface Stack {
  readonly addresses: StackAddresses;
  readonly ports: Ports;
  readonly managementUrl: string;
  readonly redisUrl: string;
  readonly bridges: { readonly neonEndpoint: string; readonly upstash: StackAddresses['upstash'] };
  readonly parts: Parts;
  amqpUrl(vhost: string): string;
  postgresUrl(database: string): string;
  createVhost(name: string): Promise<void>;
  createDatabase(name: string): Promise<void>;
  /** Stops everything that was started, gracefully. Calling it twice is fine. */
  stop(): Promise<void>;
}

export interface Parts {
  readonly rabbitmq: BrokerPart;
  readonly redis: Part;
  readonly postgres: Part;
}

/** Guards nothing: the bridge listens on loopback, before a Redis that asks for no password either. */
const upstashToken = 'setway-local';

/**
 * Starts every part in parallel, after stopping what a killed run may have left.
 *
 * @throws when a part cannot be had or does not start; nothing is left running then
 * @example
 * const stack = await startStack({ portBase: 18_700, dir: '.setway/stack', data: 'kept', log: console.log });
 * await stack.createVhost('hangzhou');
 */
export async function startStack({
  portBase,
  dir,
  log,
  data,
  env = process.env,
}: StackOptions): Promise<Stack> {
  const place = { portBase, dir: path.resolve(dir) };
  const ports = portsFrom(portBase);
  mkdirSync(place.dir, { recursive: true });
  for (const name of await stopLeftovers(place.dir)) log(`${name}: stopped, left by an earlier run`);
  const sources = await findSources(env, log);
  if (data === 'fresh') await erase({ place, ports, sources });
  const parts = createParts({ place, ports, sources, log });
  const all = Object.values(parts) as Part[];
  await expectFreePorts(portsToTake({ place, ports, sources }));
  await startAll(all, log);
  const addresses = addressesOf({ place, ports, sources });
  const bridges = await serveBridges(addresses, ports).catch(async (error: unknown) => {
    await stopAll(all);
    throw error;
  });
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    await bridges.close();
    await stopAll(all);
  };
  return {
    addresses,
    ports,
    parts,
    managementUrl: addresses.managementUrl,
    redisUrl: addresses.redisUrl,
    bridges: { neonEndpoint: addresses.neonEndpoint, upstash: addresses.upstash },
    amqpUrl: (vhost) => amqpUrlOf(addresses, vhost),
    postgresUrl: (database) => postgresUrlOf(addresses, database),
    createVhost: (name) => createVhost(addresses, name),
    createDatabase: (name) => createDatabase(addresses, name),
    stop: () => (stopping ??= stop()),
  };
}

interface Plan {
  readonly place: StackPlace;
  readonly ports: Ports;
  readonly sources: Sources;
}

/** A given server takes none of ours; a container left by an earlier run holds its own and is used again. */
function portsToTake({ ports, sources: { given, programs } }: Plan): Readonly<Record<string, number>> {
  const { amqp, management, epmd, erlang, redis, postgres, neonBridge, upstashBridge } = ports;
  return {
    ...(given.rabbitmq || !programs.rabbitmq ? {} : { amqp, management, epmd, erlang }),
    ...(given.redis || !programs.redis ? {} : { redis }),
    ...(given.postgres || !programs.postgres ? {} : { postgres }),
    'Neon bridge': neonBridge,
    'Upstash bridge': upstashBridge,
  };
}

function addressesOf({ place, ports, sources: { given } }: Plan): StackAddresses {
  return {
    ...place,
    amqpUrl: given.rabbitmq?.amqpUrl ?? amqpUrlAt(ports),
    managementUrl: given.rabbitmq?.managementUrl ?? managementUrlAt(ports),
    redisUrl: given.redis?.redisUrl ?? `redis://127.0.0.1:${ports.redis}`,
    postgresUrl: given.postgres?.postgresUrl ?? postgresUrlAt(ports.postgres),
    neonEndpoint: `http://127.0.0.1:${ports.neonBridge}/sql`,
    upstash: { url: `http://127.0.0.1:${ports.upstashBridge}`, token: upstashToken },
  };
}

function createParts(plan: Plan & { readonly log: Log }): Parts {
  return { rabbitmq: createBroker(plan), redis: createCache(plan), postgres: createStore(plan) };
}

function createBroker({ place: { dir }, ports, sources: { given, programs } }: Plan): BrokerPart {
  const { rabbitmq } = given;
  if (rabbitmq !== undefined) {
    const part = createGivenPart('rabbitmq', () => checkRabbitmq(rabbitmq.managementUrl, rabbitmq.amqpUrl));
    return { ...part, syncQueueNames: async () => {} };
  }
  return programs.rabbitmq
    ? createRabbitmq({ ...programs.rabbitmq, dir, ports })
    : createComposeBroker(ports);
}

function createCache({ place: { dir }, ports, sources: { given, programs } }: Plan): Part {
  const { redis } = given;
  if (redis !== undefined) return createGivenPart('redis', () => checkRedis(redis.redisUrl));
  return programs.redis
    ? createRedis({ ...programs.redis, dir, port: ports.redis })
    : createComposePart('redis', ports);
}

function createStore({
  place: { dir },
  ports,
  sources: { given, programs },
  log,
}: Plan & { readonly log: Log }): Part {
  const { postgres } = given;
  if (postgres !== undefined) return createGivenPart('postgres', () => checkPostgres(postgres.postgresUrl));
  if (programs.postgres === undefined) return createComposePart('postgres', ports);
  return createPostgres({ ...programs.postgres, dir, port: ports.postgres, log });
}

/** A server somebody else runs: used, never started, stopped or killed. */
function createGivenPart(name: Part['name'], check: () => Promise<void>): Part {
  const refuse = (): never => {
    throw new Error(`${name} was given by its address; it is not ours to kill or pause.`);
  };
  return {
    name,
    start: check,
    stop: async () => {},
    kill: async () => refuse(),
    pause: refuse,
    resume: refuse,
  };
}

async function startAll(parts: readonly Part[], log: Log): Promise<void> {
  const results = await Promise.allSettled(
    parts.map(async (part) => {
      const begin = performance.now();
      log(`${part.name}: starting`);
      await part.start();
      log(`✓ ${part.name}: ready after ${((performance.now() - begin) / 1000).toFixed(1)} s`);
    }),
  );
  const faults = results.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  if (faults.length === 0) return;
  await stopAll(parts);
  throw faults.length === 1 ? faults[0] : new AggregateError(faults, faults.map(String).join('\n'));
}

async function stopAll(parts: readonly Part[]): Promise<void> {
  const results = await Promise.allSettled(parts.map((part) => part.stop()));
  const fault = results.find((result) => result.status === 'rejected');
  if (fault !== undefined) throw fault.reason;
}

async function serveBridges(
  { redisUrl, upstash }: StackAddresses,
  ports: Ports,
): Promise<{ close(): Promise<void> }> {
  const neon = await serveNeonBridge(ports.neonBridge);
  try {
    const redis = await serveUpstashBridge(ports.upstashBridge, { redisUrl, token: upstash.token });
    return { close: async () => void (await Promise.all([neon.close(), redis.close()])) };
  } catch (error) {
    await neon.close();
    throw error;
  }
}

async function erase({ place: { dir }, ports, sources }: Plan): Promise<void> {
  if (sources.rest === 'containers') await eraseCompose(ports);
  erasePostgres({ dir, port: ports.postgres });
  for (const name of ['redis', 'rabbitmq']) rmSync(path.join(dir, name), { recursive: true, force: true });
}
