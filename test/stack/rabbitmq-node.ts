/**
 * One RabbitMQ node as a process, alone or in a cluster: own ports, own data, own Erlang cookie. It registers with an
 * epmd (Erlang's port mapper) that somebody else starts, since a node would start one as a daemon and leave it behind.
 */
import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Ports } from './ports.ts';
import { ServerProcess } from './server-process.ts';

export type BrokerPorts = Pick<Ports, 'amqp' | 'management' | 'epmd' | 'erlang'>;

export interface NodePlace {
  /** Of its process, its log and its pid file. */
  readonly name: string;
  readonly program: string;
  /** Folder of log and pid file. */
  readonly dir: string;
  /** Folder of its data and its cookie. */
  readonly home: string;
  /** Erlang's `name@host`. A host with dots makes it a long name. */
  readonly nodeName: string;
  /** The loopback address all its ports are open on. */
  readonly address: string;
  readonly ports: BrokerPorts;
  /** Threads that run Erlang code. */
  readonly schedulers: number;
  /** Nodes of one cluster share it; without it, one is made up and kept. */
  readonly cookie?: string;
  /** Lines of rabbitmq.conf beyond those every node has. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Arguments for the Erlang machine, without blanks inside of one. */
  readonly erlangArgs?: readonly string[];
}

const plugins = [
  'rabbitmq_management',
  'rabbitmq_federation',
  'rabbitmq_federation_management',
  'rabbitmq_shovel',
  'rabbitmq_shovel_management',
];

/** Call `writeNodeFiles` before it starts. */
export function nodeProcess(place: NodePlace): ServerProcess {
  const { name, program, dir } = place;
  return new ServerProcess({
    name,
    command: program,
    args: [],
    env: nodeEnvironment(place),
    cwd: dir,
    stopSignal: 'SIGTERM',
    dir,
  });
}

/** @param addresses that nodes which use it may have */
export function epmdProcess(
  { dir, port }: { readonly dir: string; readonly port: number },
  { epmdProgram, addresses }: { readonly epmdProgram: string; readonly addresses: readonly string[] },
): ServerProcess {
  return new ServerProcess({
    name: 'epmd',
    command: epmdProgram,
    args: ['-port', String(port), '-address', addresses.join(',')],
    env: withoutForeignSettings(),
    stopSignal: 'SIGTERM',
    dir,
  });
}

/** Runs rabbitmqctl for this node. @throws with what it printed when it fails */
export async function controlNode(place: NodePlace, ...args: readonly string[]): Promise<string> {
  const { program, dir } = place;
  const tool = path.join(path.dirname(program), 'rabbitmqctl');
  const { stdout } = await promisify(execFile)(tool, [...args], { env: nodeEnvironment(place), cwd: dir });
  return stdout;
}

/** Erlang installs epmd in its own folder and, on most systems, a link in the path. */
export function findEpmd(pathFolders: readonly string[]): string | undefined {
  const inPath = pathFolders.map((folder) => path.join(folder, 'epmd'));
  return [...inPath, ...globSync('/usr/{lib,local/lib,lib64}/erlang/erts-*/bin/epmd')].find((file) =>
    existsSync(file),
  );
}

/** Settings from the user's own RabbitMQ must not leak in. https://www.rabbitmq.com/docs/configure#supported-environment-variables */
function withoutForeignSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(RABBITMQ|ERL)_/.test(name)));
}

function nodeEnvironment(place: NodePlace): NodeJS.ProcessEnv {
  const { home, nodeName, address, ports, schedulers, erlangArgs = [] } = place;
  const args = [
    // No busy waiting beside what is measured.
    `+S ${schedulers}:${schedulers} +sbwt none +sbwtdcpu none +sbwtdio none`,
    `-start_epmd false -kernel inet_dist_use_interface {${address.replaceAll('.', ',')}}`,
    ...erlangArgs,
  ];
  return {
    ...withoutForeignSettings(),
    HOME: home, // where Erlang keeps its cookie
    ERL_EPMD_PORT: String(ports.epmd),
    ERL_EPMD_ADDRESS: address,
    RABBITMQ_NODENAME: nodeName,
    ...(nodeName.includes('.') ? { RABBITMQ_USE_LONGNAME: 'true' } : {}),
    RABBITMQ_DIST_PORT: String(ports.erlang),
    RABBITMQ_MNESIA_BASE: path.join(home, 'data'),
    RABBITMQ_LOG_BASE: path.join(home, 'log'),
    RABBITMQ_PID_FILE: path.join(home, 'pid'),
    RABBITMQ_CONFIG_FILE: path.join(home, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: path.join(home, 'none.config'),
    RABBITMQ_CONF_ENV_FILE: path.join(home, 'none.env'),
    RABBITMQ_ENABLED_PLUGINS_FILE: path.join(home, 'enabled_plugins'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: args.join(' '),
  };
}

export function writeNodeFiles({ home, address, ports, cookie, settings = {} }: NodePlace): void {
  for (const folder of ['data', 'log']) mkdirSync(path.join(home, folder), { recursive: true });
  const cookieFile = path.join(home, '.erlang.cookie');
  if (!existsSync(cookieFile)) writeFileSync(cookieFile, cookie ?? crypto.randomUUID(), { mode: 0o400 });
  writeFileSync(path.join(home, 'none.env'), '');
  writeFileSync(path.join(home, 'enabled_plugins'), `[${plugins.join(',')}].\n`);
  const all = {
    'listeners.tcp.1': `${address}:${ports.amqp}`,
    'management.tcp.ip': address,
    'management.tcp.port': ports.management,
    'log.file.level': 'warning',
    'disk_free_limit.absolute': '50MB',
    'vm_memory_high_watermark.absolute': '1GB',
    collect_statistics_interval: 2000,
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(path.join(home, 'rabbitmq.conf'), lines.join(''));
}
