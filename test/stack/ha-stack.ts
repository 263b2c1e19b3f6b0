/**
 * What production looks like, on one machine: two SETs, each a cluster of three RabbitMQ nodes behind HAProxy, one
 * Postgres with a database per SET, one Redis. Where the machine allows it, two HAProxies per SET share a virtual address
 * by Keepalived (virtual-address.ts); elsewhere one HAProxy listens on loopback.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { amqpUrlOf, createVhost, type StackAddresses } from './addresses.ts';
import { createBalancer, type Balancer } from './balancer.ts';
import { createCluster, nodeAddresses, type Cluster, type ClusterPorts } from './cluster.ts';
import { deployOn, type Deployment } from './deployment.ts';
import { expectFreePorts } from './free-ports.ts';
import { findBalancerPrograms, findSources, type BalancerPrograms } from './packages.ts';
import { until, type Log } from './part.ts';
import { portsFrom, portsPerStack, type StackPlace } from './ports.ts';
import { amqpUrlAt, checkRabbitmq, managementUrlAt } from './rabbitmq.ts';
import { stopLeftovers } from './server-process.ts';
import { startStack, type Stack } from './stack.ts';
import { createNetwork, createVirtualAddress, type Network, type VirtualAddress } from './virtual-address.ts';

export const haSets = ['hangzhou', 'frankfurt'] as const;
export type HaSetName = (typeof haSets)[number];

export interface HaSet {
  readonly id: HaSetName;
  readonly cluster: Cluster;
  /** Of Setway's process for this SET. */
  readonly edgePort: number;
  /** Through HAProxy. */
  readonly brokerUrl: (vhost: string) => string;
  /** Each node by itself: several broker URLs are the way without HAProxy. */
  readonly nodeUrls: (vhost: string) => readonly string[];
  readonly managementUrl: string;
  /** HAProxy's page of nodes. */
  readonly statusUrl: string;
  readonly balancers: readonly Balancer[];
  /** Undefined where one HAProxy listens on loopback. */
  readonly virtualAddress: VirtualAddress | undefined;
}

export interface HaStack {
  readonly sets: Readonly<Record<HaSetName, HaSet>>;
  /** Postgres, Redis, and the first SET's broker as the one that was given. */
  readonly base: Stack;
  /** Vhosts on both clusters, databases, catalog: the demo's topics and subscriptions on these two SETs. */
  deploy(prefix: string, report: Log, change?: (seed: SeedInput) => SeedInput): Promise<Deployment>;
  createVhost(set: HaSetName, vhost: string): Promise<void>;
  /** Stops everything that was started. Calling it twice is fine. */
  stop(): Promise<void>;
}

export interface HaStackOptions extends StackPlace {
  readonly data: 'kept' | 'fresh';
  readonly log: Log;
  /** `where-possible` is Keepalived; `loopback` does with one HAProxy per SET. */
  readonly virtualAddress: 'where-possible' | 'loopback';
  readonly env?: NodeJS.ProcessEnv;
}

interface Programs extends BalancerPrograms {
  readonly rabbitmq: { readonly program: string; readonly epmdProgram: string };
}

/**
 * @throws when a program cannot be had or does not start; nothing is left running then
 * @example const stack = await startHaStack({ ...place, data: 'kept', log: console.log, virtualAddress: 'where-possible' });
 */
export async function startHaStack(options: HaStackOptions): Promise<HaStack> {
  const { log, data, env = process.env } = options;
  const dir = path.resolve(options.dir);
  mkdirSync(dir, { recursive: true });
  for (const name of await stopLeftovers(dir)) log(`${name}: stopped, left by an earlier run`);
  const programs = await findPrograms(env, log);
  if (data === 'fresh')
    for (const set of haSets) rmSync(path.join(dir, set), { recursive: true, force: true });
  const closers: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= closeAll(closers));
  try {
    const network = await findNetwork(options, programs);
    if (network) closers.push(async () => network.remove());
    const place = { dir, portBase: options.portBase, programs, network };
    const [first, second] = haSets.map((id, index) => createSet({ ...place, id, index })) as [OwnSet, OwnSet];
    await expectFreePorts({ 'first SET': first.cluster.ports.amqp, 'second SET': second.cluster.ports.amqp });
    closers.push(() => stopSets([first, second]));
    await Promise.all([first, second].map((set) => startSet(set, log)));
    const base = await startStack({
      portBase: options.portBase,
      dir: path.join(dir, 'base'),
      data,
      log,
      env: { ...env, SETWAY_AMQP_URL: first.amqpUrl, SETWAY_MANAGEMENT_URL: first.managementUrl },
    });
    closers.push(() => base.stop());
    const sets = { hangzhou: first, frankfurt: second };
    return { sets, base, stop, ...deploying(base, sets) };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function findPrograms(env: NodeJS.ProcessEnv, log: Log): Promise<Programs> {
  const { programs } = await findSources(env, log);
  if (programs.rabbitmq === undefined)
    throw new Error(
      'The clusters need RabbitMQ installed here. With Docker alone: docker compose -f compose.ha.yaml up --wait',
    );
  return { rabbitmq: programs.rabbitmq, ...(await findBalancerPrograms(env, log)) };
}

/** Undefined, and a line that says why, where one HAProxy per SET on loopback has to do. */
async function findNetwork(options: HaStackOptions, programs: Programs): Promise<Network | undefined> {
  const { log, virtualAddress, portBase } = options;
  if (virtualAddress === 'loopback') return undefined;
  const without = (why: string): undefined =>
    log(`no Keepalived: ${why}; one HAProxy per SET listens on loopback`) as undefined;
  if (process.getuid?.() !== 0) return without('network namespaces need root');
  if (programs.keepalived === undefined || programs.ip === undefined)
    return without('keepalived or ip is not installed');
  try {
    return await createNetwork(programs.ip, Math.floor(portBase / portsPerStack));
  } catch (error) {
    return without(`this machine has no network namespaces (${String(error).split('\n')[0]})`);
  }
}

interface SetPlace extends StackPlace {
  readonly programs: Programs;
  readonly network: Network | undefined;
  readonly id: HaSetName;
  readonly index: number;
}

interface OwnSet extends HaSet {
  readonly amqpUrl: string;
  readonly front: { start(): Promise<void>; stop(): Promise<void> };
}

/** The nodes have addresses of their own, so HAProxy has the same ports on its. */
function createSet({ id, index, dir, portBase, programs, network }: SetPlace): OwnSet {
  const { edgePort, ports } = index === 0 ? portsOfFirst(portBase) : portsOfSecond(portBase);
  const setDir = path.join(dir, id);
  const outer = network ? { outerAddresses: network.nodeAddresses } : {};
  const cluster = createCluster({ ...programs.rabbitmq, dir: setDir, ports, ...outer });
  const balancer = {
    haproxy: programs.haproxy,
    ports: { amqp: ports.amqp, management: ports.management },
  };
  const virtualAddress =
    network && programs.keepalived !== undefined
      ? createVirtualAddress({
          network,
          keepalived: programs.keepalived,
          dir: setDir,
          balancer,
          last: 10 * (index + 1),
        })
      : undefined;
  const host = virtualAddress?.address ?? '127.0.0.1';
  const single = { ...balancer, name: 'haproxy', dir: setDir, listen: host, reachedAt: host };
  const alone = createBalancer({ ...single, nodeAddresses });
  return {
    id,
    cluster,
    edgePort,
    virtualAddress,
    balancers: virtualAddress ? virtualAddress.machines.map((machine) => machine.balancer) : [alone],
    front: virtualAddress ?? alone,
    amqpUrl: amqpUrlAt(ports, host),
    managementUrl: managementUrlAt(ports, host),
    statusUrl: `http://${host}:${ports.management}/haproxy`,
    brokerUrl: (vhost) => amqpUrlOf({ amqpUrl: amqpUrlAt(ports, host) }, vhost),
    nodeUrls: (vhost) => cluster.nodes.map(({ amqpUrl }) => amqpUrlOf({ amqpUrl }, vhost)),
  };
}

interface SetPorts {
  readonly edgePort: number;
  readonly ports: ClusterPorts;
}

/** Beside Postgres, Redis and the bridges, which have their usual places among the 20 ports. */
function portsOfFirst(base: number): SetPorts {
  const { amqp, management, epmd, erlang, node } = portsFrom(base);
  return { edgePort: node, ports: { amqp, management, epmd, erlang: [erlang, base + 11, base + 12] } };
}

function portsOfSecond(base: number): SetPorts {
  const [amqp, management, epmd] = [base + 13, base + 14, base + 15];
  const erlang = [base + 16, base + 17, base + 18] as const;
  return { edgePort: base + 19, ports: { amqp, management, epmd, erlang } };
}

async function startSet(set: OwnSet, log: Log): Promise<void> {
  const begin = performance.now();
  const seconds = (): string => `${((performance.now() - begin) / 1000).toFixed(1)} s`;
  log(`${set.id}: starting three RabbitMQ nodes`);
  await set.cluster.start();
  log(`✓ ${set.id}: a cluster of three after ${seconds()}`);
  await set.front.start();
  await until(() => checkRabbitmq(set.managementUrl, set.amqpUrl), 15_000);
  const where = set.virtualAddress ? `two HAProxies, Keepalived, ` : 'HAProxy, ';
  log(`✓ ${set.id}: ${where}${new URL(set.amqpUrl).host} after ${seconds()}`);
}

async function stopSets(sets: readonly OwnSet[]): Promise<void> {
  await Promise.all(
    sets.map(async ({ front, cluster }) => {
      await front.stop();
      await cluster.stop();
    }),
  );
}

/** The last opened first. One that fails does not keep the others open. */
async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  const faults: unknown[] = [];
  for (const close of closers.toReversed()) await close().catch((error: unknown) => faults.push(error));
  if (faults.length > 0) throw new AggregateError(faults, faults.map(String).join('\n'));
}

function deploying(base: Stack, sets: HaStack['sets']): Pick<HaStack, 'deploy' | 'createVhost'> {
  const addressesOf = (id: HaSetName): StackAddresses => ({
    ...base.addresses,
    managementUrl: sets[id].managementUrl,
  });
  const createVhostOf = (id: HaSetName, vhost: string): Promise<void> => createVhost(addressesOf(id), vhost);
  return {
    createVhost: createVhostOf,
    async deploy(prefix, report, change = (seed) => seed) {
      await Promise.all(haSets.map((id) => createVhostOf(id, `${prefix}_${id}`)));
      const brokerUrls = Object.fromEntries(haSets.map((id) => [id, sets[id].brokerUrl(`${prefix}_${id}`)]));
      const ground = { addresses: base.addresses, prefix, sets: haSets, brokerUrls };
      return deployOn(ground, report, (seed) => change(onTwoSets(seed, sets)));
    },
  };
}

/** The demo's world on Hangzhou, which is also the center, and Frankfurt; each has half of the keys. */
function onTwoSets(seed: SeedInput, places: HaStack['sets']): SeedInput {
  const mine = seed.sets.flatMap((set) => {
    const place = haSets.find((id) => id === set.id);
    return place ? [{ ...set, managementUrl: places[place].managementUrl }] : [];
  });
  return {
    ...seed,
    sets: mine.map((set) => (set.id === haSets[0] ? { ...set, kind: 'center' as const } : set)),
    buckets: [
      { from: 0, to: 8191, set: haSets[0] },
      { from: 8192, to: 16_383, set: haSets[1] },
    ],
  };
}
