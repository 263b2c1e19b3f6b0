/**
 * Three RabbitMQ nodes as one cluster, as a SET has them in production: quorum queues have a member on each, and one
 * node may go without anybody being refused.
 *
 * Each node has a loopback address of its own, so a rule of the packet filter can tell them apart (see partition.ts).
 * They share an epmd and a cookie. The first start makes the cluster; later ones find it in the data.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { until, type BrokerPart } from './part.ts';
import {
  amqpUrlAt,
  callManagement,
  checkPort,
  checkRabbitmq,
  managementUrlAt,
  syncTables,
} from './rabbitmq.ts';
import {
  controlNode,
  epmdProcess,
  nodeProcess,
  writeNodeFiles,
  type BrokerPorts,
  type NodePlace,
} from './rabbitmq-node.ts';

export interface ClusterPorts extends Omit<BrokerPorts, 'erlang'> {
  /** One per node: they share an epmd, which takes a port for a node. */
  readonly erlang: readonly [number, number, number];
}

export interface ClusterPlace {
  readonly program: string;
  readonly epmdProgram: string;
  readonly dir: string;
  readonly ports: ClusterPorts;
  /** Of each node: another address for AMQP, and the only one for management; for clients in other network namespaces. */
  readonly outerAddresses?: readonly string[];
}

export interface ClusterNode extends Omit<BrokerPart, 'name'> {
  readonly name: string;
  readonly address: string;
  /** Without a vhost. */
  readonly amqpUrl: string;
  readonly managementUrl: string;
  readonly pid: number | undefined;
  /** Runs rabbitmqctl on this node. */
  control(...args: readonly string[]): Promise<string>;
}

export interface Cluster {
  readonly nodes: readonly [ClusterNode, ClusterNode, ClusterNode];
  readonly ports: ClusterPorts;
  /** Returns when all three answer and know each other. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** SIGKILL to all three at once, and to their epmd. */
  kill(): Promise<void>;
  /** See `BrokerPart.syncQueueNames`, on every node. */
  syncQueueNames(): Promise<void>;
}

/** Linux answers on all of 127.0.0.0/8. */
export const nodeAddresses = ['127.0.1.1', '127.0.1.2', '127.0.1.3'] as const;

/**
 * Three nodes on two cores: one scheduler each. What a cluster adds to a node's settings, and why:
 *
 * - the smaller part of a broken network stops serving, so that no two halves say different things
 *   (https://www.rabbitmq.com/docs/partitions#pause-minority);
 * - a node that says nothing for 10 s is gone; Erlang's default is 60 s (https://www.rabbitmq.com/docs/nettick);
 * - connections from the outer addresses are not from loopback, where alone "guest" may come from;
 * - HAProxy asks each node every second and hangs up: that is not worth a line in the log.
 */
const clusterSettings = {
  cluster_partition_handling: 'pause_minority',
  loopback_users: 'none',
  'log.connection.level': 'error',
  collect_statistics_interval: 5000,
} as const;
const tickSeconds = 10;
/** Guards nothing: the nodes listen on loopback. */
const cookie = 'setway-local';

const startDeadlineMs = 120_000;

export function createCluster(place: ClusterPlace): Cluster {
  const places = nodeAddresses.map((address, index) => placeOfNode(place, address, index));
  const epmd = epmdProcess(
    { dir: place.dir, port: place.ports.epmd },
    { epmdProgram: place.epmdProgram, addresses: nodeAddresses },
  );
  const nodes = places.map((each, index) => createNode(each, place.outerAddresses?.[index] ?? each.address));
  const startEpmd = (): Promise<void> => {
    mkdirSync(place.dir, { recursive: true });
    return epmd.start(() => checkPort(place.ports.epmd), 20_000);
  };
  return {
    nodes: nodes as unknown as Cluster['nodes'],
    ports: place.ports,
    start: async () => {
      await startEpmd();
      await Promise.all(nodes.map((node) => node.start()));
      for (const node of nodes.slice(1)) await join(node, places[0]?.nodeName ?? '');
      await Promise.all(nodes.map((node) => until(() => expectWhole(node), startDeadlineMs)));
    },
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await epmd.stop();
    },
    kill: async () => void (await Promise.all([...nodes.map((node) => node.kill()), epmd.kill()])),
    syncQueueNames: async () => void (await Promise.all(nodes.map((node) => node.syncQueueNames()))),
  };
}

function placeOfNode(
  { program, dir, ports, outerAddresses = [] }: ClusterPlace,
  address: string,
  index: number,
): NodePlace {
  const outer = outerAddresses[index];
  const home = path.join(dir, `node-${index + 1}`);
  return {
    name: `node-${index + 1}`,
    program,
    dir,
    home,
    nodeName: `setway-${ports.amqp}-${index + 1}@${address}`,
    address,
    ports: { ...ports, erlang: ports.erlang[index] ?? 0 },
    schedulers: 1,
    cookie,
    settings: {
      ...clusterSettings,
      ...(outer === undefined
        ? {}
        : { 'listeners.tcp.2': `${outer}:${ports.amqp}`, 'management.tcp.ip': outer }),
    },
    erlangArgs: [
      `-kernel net_ticktime ${tickSeconds}`,
      // Its own address is also the one it calls from: else every node would come from 127.0.0.1.
      `-kernel inet_dist_connect_options [{ip,{${address.replaceAll('.', ',')}}}]`,
    ],
  };
}

function createNode(place: NodePlace, managementAddress: string): ClusterNode {
  const server = nodeProcess(place);
  const amqpUrl = amqpUrlAt(place.ports, place.address);
  const managementUrl = managementUrlAt(place.ports, managementAddress);
  const control: ClusterNode['control'] = (...args) => controlNode(place, ...args);
  let isWanted = false;
  return {
    name: place.name,
    address: place.address,
    amqpUrl,
    managementUrl,
    get pid() {
      return server.pid;
    },
    control,
    start: async () => {
      writeNodeFiles(place);
      isWanted = true;
      const start = (): Promise<void> =>
        server.start(() => checkRabbitmq(managementUrl, amqpUrl), startDeadlineMs);
      const again = (error: unknown): Promise<void> => {
        if (!isWanted) throw error;
        return start();
      };
      // A node of 3.10 that meets another one in the middle of its boot ends with "incompatible_feature_flags".
      await start().catch(again).catch(again);
    },
    stop: () => {
      isWanted = false;
      return server.stop();
    },
    kill: () => {
      isWanted = false;
      return server.kill();
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    syncQueueNames: async () => void (await control('eval', syncTables)),
  };
}

/** A node that is in the cluster already stays as it is. */
async function join(node: ClusterNode, first: string): Promise<void> {
  if ((await readNodes(node)).length > 1) return;
  await node.control('stop_app');
  await node.control('join_cluster', first);
  await node.control('start_app');
  await until(() => checkRabbitmq(node.managementUrl, node.amqpUrl), startDeadlineMs);
}

interface SeenNode {
  readonly name: string;
  readonly running: boolean;
  /** Nodes it believes to be cut off from. */
  readonly partitions?: readonly string[];
}

/** The cluster as this node sees it. */
export async function readNodes({
  managementUrl,
}: Pick<ClusterNode, 'managementUrl'>): Promise<readonly SeenNode[]> {
  const response = await callManagement(managementUrl, 'GET', '/api/nodes?columns=name,running,partitions');
  return (await response.json()) as SeenNode[];
}

/** @throws unless this node sees all three running and nobody cut off */
export async function expectWhole(node: Pick<ClusterNode, 'managementUrl'>): Promise<void> {
  const seen = await readNodes(node);
  const isWhole =
    seen.filter(({ running, partitions = [] }) => running && partitions.length === 0).length === 3;
  if (!isWhole) throw new Error(`The cluster is not whole: ${JSON.stringify(seen)}`);
}
