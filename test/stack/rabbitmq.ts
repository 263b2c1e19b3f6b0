/**
 * A RabbitMQ of our own for one stack: a single node, and the epmd it needs. Management, federation and shovel are on.
 */
import { connect } from 'node:net';
import path from 'node:path';
import type { BrokerPart } from './part.ts';
import type { Ports } from './ports.ts';
import {
  controlNode,
  epmdProcess,
  nodeProcess,
  writeNodeFiles,
  type BrokerPorts,
  type NodePlace,
} from './rabbitmq-node.ts';

export interface RabbitmqPlace {
  readonly program: string;
  readonly epmdProgram: string;
  readonly dir: string;
  readonly ports: Ports;
}

/** Erlang: write every dets table of the node to disk. */
export const syncTables = '[dets:sync(Table) || Table <- dets:all()].';

export function createRabbitmq({ program, epmdProgram, dir, ports }: RabbitmqPlace): BrokerPart {
  const place: NodePlace = {
    name: 'rabbitmq',
    program,
    dir,
    home: path.join(dir, 'rabbitmq'),
    nodeName: `setway-${ports.amqp}@localhost`,
    address: '127.0.0.1',
    ports,
    schedulers: 2,
    // Its statistics are what operators' commands wait for: 5 s late by default, of quorum queues another 5 s.
    settings: { collect_statistics_interval: 1_000 },
    erlangArgs: ['-rabbit', 'quorum_tick_interval', '1000'],
  };
  const epmd = epmdProcess({ dir, port: ports.epmd }, { epmdProgram, addresses: [place.address] });
  const node = nodeProcess(place);
  return {
    name: 'rabbitmq',
    start: async () => {
      writeNodeFiles(place);
      await epmd.start(() => checkPort(ports.epmd), 20_000);
      await node.start(() => checkRabbitmq(managementUrlAt(ports), amqpUrlAt(ports)), 90_000);
    },
    stop: async () => {
      await node.stop();
      await epmd.stop();
    },
    kill: () => node.kill(),
    pause: () => node.pause(),
    resume: () => node.resume(),
    syncQueueNames: async () => void (await controlNode(place, 'eval', syncTables)),
  };
}

export function amqpUrlAt({ amqp }: Pick<BrokerPorts, 'amqp'>, host = '127.0.0.1'): string {
  return `amqp://guest:guest@${host}:${amqp}`;
}

export function managementUrlAt({ management }: Pick<BrokerPorts, 'management'>, host = '127.0.0.1'): string {
  return `http://guest:guest@${host}:${management}`;
}

/** @throws when the management API or the AMQP port does not answer */
export async function checkRabbitmq(managementUrl: string, amqpUrl: string): Promise<void> {
  const { hostname, port } = new URL(amqpUrl);
  await checkPort(Number(port || 5672), hostname);
  await callManagement(managementUrl, 'GET', '/api/overview');
}

/**
 * One call of RabbitMQ's management API. `fetch` refuses credentials in a URL, so they become a header.
 *
 * @throws when the answer is not 2xx
 */
export async function callManagement(
  managementUrl: string,
  method: 'GET' | 'PUT' | 'DELETE' | 'POST',
  pathname: string,
  body?: unknown,
): Promise<Response> {
  const { origin, username, password } = new URL(managementUrl);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const response = await fetch(origin + pathname, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok)
    throw new Error(`${method} ${pathname} answered ${response.status}: ${await response.text()}`);
  return response;
}

/** @throws when nothing listens there, or does not answer within 1 s */
export async function checkPort(port: number, host = '127.0.0.1'): Promise<void> {
  const socket = connect({ host, port, timeout: 1_000 });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
      socket.once('timeout', () => reject(new Error(`port ${port} did not answer within 1 s`)));
    });
  } finally {
    socket.destroy();
  }
}
