/**
 * A RabbitMQ node of our own: own ports, own data, own Erlang cookie and its own epmd (Erlang's port mapper, which
 * a node would otherwise start as a daemon and leave behind). Management, federation and shovel are on.
 */
import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import type { BrokerPart } from './part.ts';
import type { Ports } from './ports.ts';
import { ServerProcess } from './server-process.ts';

export interface RabbitmqPlace {
  readonly program: string;
  readonly epmdProgram: string;
  readonly dir: string;
  readonly ports: Ports;
}

const plugins = [
  'rabbitmq_management',
  'rabbitmq_federation',
  'rabbitmq_federation_management',
  'rabbitmq_shovel',
  'rabbitmq_shovel_management',
];

/** Erlang: write every dets table of the node to disk. */
export const syncTables = '[dets:sync(Table) || Table <- dets:all()].';

export function createRabbitmq({ program, epmdProgram, dir, ports }: RabbitmqPlace): BrokerPart {
  const home = path.join(dir, 'rabbitmq');
  const env = environment(home, ports);
  const epmd = new ServerProcess({
    name: 'epmd',
    command: epmdProgram,
    args: ['-port', String(ports.epmd), '-address', '127.0.0.1'],
    env,
    stopSignal: 'SIGTERM',
    dir,
  });
  const node = new ServerProcess({
    name: 'rabbitmq',
    command: program,
    args: [],
    env,
    cwd: dir,
    stopSignal: 'SIGTERM',
    dir,
  });
  return {
    name: 'rabbitmq',
    start: async () => {
      writeConfiguration(home, ports);
      await epmd.start(() => checkPort(ports.epmd), 5_000);
      await node.start(() => checkRabbitmq(managementUrlAt(ports), amqpUrlAt(ports)), 90_000);
    },
    stop: async () => {
      await node.stop();
      await epmd.stop();
    },
    kill: () => node.kill(),
    pause: () => node.pause(),
    resume: () => node.resume(),
    syncQueueNames: async () => {
      await promisify(execFile)(path.join(path.dirname(program), 'rabbitmqctl'), ['eval', syncTables], {
        env,
        cwd: dir,
      });
    },
  };
}

export function amqpUrlAt({ amqp }: Ports): string {
  return `amqp://guest:guest@127.0.0.1:${amqp}`;
}

export function managementUrlAt({ management }: Ports): string {
  return `http://guest:guest@127.0.0.1:${management}`;
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

/** Settings from the user's own RabbitMQ must not leak in. https://www.rabbitmq.com/docs/configure#supported-environment-variables */
function environment(home: string, ports: Ports): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(RABBITMQ|ERL)_/.test(name));
  const schedulers = '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none'; // no busy waiting beside what is measured
  return {
    ...Object.fromEntries(inherited),
    HOME: home, // where Erlang keeps its cookie
    ERL_EPMD_PORT: String(ports.epmd),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `setway-${ports.amqp}@localhost`,
    RABBITMQ_DIST_PORT: String(ports.erlang),
    RABBITMQ_MNESIA_BASE: path.join(home, 'data'),
    RABBITMQ_LOG_BASE: path.join(home, 'log'),
    RABBITMQ_PID_FILE: path.join(home, 'pid'),
    RABBITMQ_CONFIG_FILE: path.join(home, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: path.join(home, 'none.config'),
    RABBITMQ_CONF_ENV_FILE: path.join(home, 'none.env'),
    RABBITMQ_ENABLED_PLUGINS_FILE: path.join(home, 'enabled_plugins'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `${schedulers} -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}`,
  };
}

function writeConfiguration(home: string, ports: Ports): void {
  for (const folder of ['data', 'log']) mkdirSync(path.join(home, folder), { recursive: true });
  const cookie = path.join(home, '.erlang.cookie');
  if (!existsSync(cookie)) writeFileSync(cookie, crypto.randomUUID(), { mode: 0o400 });
  writeFileSync(path.join(home, 'none.env'), '');
  writeFileSync(path.join(home, 'enabled_plugins'), `[${plugins.join(',')}].\n`);
  const settings = {
    'listeners.tcp.1': `127.0.0.1:${ports.amqp}`,
    'management.tcp.ip': '127.0.0.1',
    'management.tcp.port': ports.management,
    'log.file.level': 'warning',
    'disk_free_limit.absolute': '50MB',
    'vm_memory_high_watermark.absolute': '1GB',
    collect_statistics_interval: 2000,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(path.join(home, 'rabbitmq.conf'), lines.join(''));
}

/** Erlang installs epmd in its own folder and, on most systems, a link in the path. */
export function findEpmd(pathFolders: readonly string[]): string | undefined {
  const inPath = pathFolders.map((folder) => path.join(folder, 'epmd'));
  return [...inPath, ...globSync('/usr/{lib,local/lib,lib64}/erlang/erts-*/bin/epmd')].find((file) =>
    existsSync(file),
  );
}

async function checkPort(port: number, host = '127.0.0.1'): Promise<void> {
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
