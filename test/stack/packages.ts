/**
 * Where RabbitMQ, Redis and Postgres come from. In this order: addresses the user gives; programs that are installed;
 * Debian packages, when we are root; containers, when a Docker engine answers.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, globSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { hasDocker } from './compose.ts';
import type { Log, Part } from './part.ts';
import { findEpmd } from './rabbitmq-node.ts';

export interface GivenAddresses {
  readonly rabbitmq?: { readonly amqpUrl: string; readonly managementUrl: string };
  readonly redis?: { readonly redisUrl: string };
  readonly postgres?: { readonly postgresUrl: string };
}

export interface Programs {
  readonly rabbitmq?: { readonly program: string; readonly epmdProgram: string };
  readonly redis?: { readonly program: string };
  readonly postgres?: { readonly binDir: string };
}

export interface Sources {
  readonly given: GivenAddresses;
  readonly programs: Programs;
  /** Whether what is neither given nor installed runs in containers. */
  readonly rest: 'none' | 'containers';
}

/** What stands before a cluster. Only HAProxy must be there. */
export interface BalancerPrograms {
  readonly haproxy: string;
  readonly keepalived: string | undefined;
  /** `ip` of iproute2, for network namespaces. */
  readonly ip: string | undefined;
}

type ServerName = Part['name'];

const serverNames = ['rabbitmq', 'redis', 'postgres'] as const;
const debianPackages = {
  rabbitmq: 'rabbitmq-server',
  redis: 'redis-server',
  postgres: 'postgresql',
} as const;

/**
 * Finds every server, installing packages when that is possible and needed.
 *
 * @throws with the three remedies when a server cannot be had
 */
export async function findSources(env: NodeJS.ProcessEnv, log: Log): Promise<Sources> {
  const given = givenAddresses(env);
  const programs = findPrograms(env);
  const missing = serverNames.filter((name) => given[name] === undefined && programs[name] === undefined);
  if (missing.length === 0) return { given, programs, rest: 'none' };
  log(`not installed here: ${missing.join(', ')}`);
  if (canInstall()) {
    await install(
      missing.map((name) => debianPackages[name]),
      log,
    );
    return { given, programs: findPrograms(env), rest: 'none' };
  }
  if (await hasDocker()) {
    log(`${missing.join(', ')}: using containers (compose.yaml)`);
    return { given, programs, rest: 'containers' };
  }
  throw new Error(remedies(missing));
}

/**
 * Finds HAProxy and Keepalived, installing them when that is possible and needed.
 *
 * @throws when HAProxy cannot be had, with the remedy
 */
export async function findBalancerPrograms(env: NodeJS.ProcessEnv, log: Log): Promise<BalancerPrograms> {
  await installTools(['haproxy', 'keepalived', 'ip'], env, log);
  const haproxy = findTool('haproxy', env);
  if (haproxy === undefined)
    throw new Error(`The nodes of a cluster need HAProxy before them. ${toolRemedy('haproxy')}`);
  return { haproxy, keepalived: findTool('keepalived', env), ip: findTool('ip', env) };
}

/** The packet filter, with which tests cut networks; undefined when it cannot be had, or we are not root. */
export async function findPacketFilter(env: NodeJS.ProcessEnv, log: Log): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  await installTools(['nft'], env, log);
  return findTool('nft', env);
}

const toolPackages = {
  haproxy: 'haproxy',
  keepalived: 'keepalived',
  ip: 'iproute2',
  nft: 'nftables',
} as const;
type Tool = keyof typeof toolPackages;

async function installTools(tools: readonly Tool[], env: NodeJS.ProcessEnv, log: Log): Promise<void> {
  const missing = tools.filter((tool) => findTool(tool, env) === undefined);
  if (missing.length === 0 || !canInstall()) return;
  log(`not installed here: ${missing.join(', ')}`);
  await install(
    missing.map((tool) => toolPackages[tool]),
    log,
  );
}

function findTool(tool: Tool, env: NodeJS.ProcessEnv): string | undefined {
  const folders = (env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  return firstProgram(tool, [...folders, '/usr/sbin', '/sbin', '/usr/local/sbin']);
}

function toolRemedy(tool: Tool): string {
  return `On Debian or Ubuntu: apt-get install ${toolPackages[tool]} (run as root, this command does it for you).`;
}

function remedies(missing: readonly ServerName[]): string {
  return [
    `Setway needs ${missing.join(', ')}. One of these helps:`,
    `  1. install them, on Debian or Ubuntu: apt-get install ${missing.map((name) => debianPackages[name]).join(' ')}`,
    '     (run as root, this command does it for you);',
    '  2. start a Docker engine with the compose plugin;',
    '  3. give addresses: SETWAY_AMQP_URL and SETWAY_MANAGEMENT_URL, SETWAY_REDIS_URL, SETWAY_POSTGRES_URL.',
  ].join('\n');
}

function givenAddresses(env: NodeJS.ProcessEnv): GivenAddresses {
  const amqpUrl = env['SETWAY_AMQP_URL'];
  const managementUrl = env['SETWAY_MANAGEMENT_URL'];
  const redisUrl = env['SETWAY_REDIS_URL'];
  const postgresUrl = env['SETWAY_POSTGRES_URL'];
  if ((amqpUrl === undefined) !== (managementUrl === undefined)) {
    throw new Error('Set SETWAY_AMQP_URL and SETWAY_MANAGEMENT_URL both, or neither.');
  }
  return {
    ...(amqpUrl === undefined || managementUrl === undefined ? {} : { rabbitmq: { amqpUrl, managementUrl } }),
    ...(redisUrl === undefined ? {} : { redis: { redisUrl } }),
    ...(postgresUrl === undefined ? {} : { postgres: { postgresUrl } }),
  };
}

/** Debian keeps servers outside the path, and its /usr/sbin/rabbitmq-server is a wrapper that changes user. */
function findPrograms(env: NodeJS.ProcessEnv): Programs {
  const folders = (env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  const rabbitmq = firstProgram('rabbitmq-server', ['/usr/lib/rabbitmq/bin', ...folders]);
  const epmdProgram = findEpmd(folders);
  const redis = firstProgram('redis-server', [...folders, '/usr/bin', '/usr/local/bin']);
  const newestFirst = globSync('/usr/lib/postgresql/*/bin').sort((a, b) => majorVersion(b) - majorVersion(a));
  const initdb = firstProgram('initdb', [...newestFirst, ...folders]);
  return {
    ...(rabbitmq === undefined || epmdProgram === undefined
      ? {}
      : { rabbitmq: { program: rabbitmq, epmdProgram } }),
    ...(redis === undefined ? {} : { redis: { program: redis } }),
    ...(initdb === undefined ? {} : { postgres: { binDir: path.dirname(initdb) } }),
  };
}

function majorVersion(binDir: string): number {
  return Number(path.basename(path.dirname(binDir)));
}

function firstProgram(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
}

/**
 * Debian packages start their servers at once. A policy that forbids it lies there meanwhile, unless the machine has
 * one already (containers do). RabbitMQ's package starts epmd all the same: that one is ended again.
 */
async function install(packages: readonly string[], log: Log): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d';
  const isOurPolicy = !existsSync(policy);
  const hadEpmd = await isListening(4369);
  if (isOurPolicy) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    log('apt-get update');
    await aptGet(['update'], log);
    log(`apt-get install ${packages.join(' ')} (a minute or two)`);
    await aptGet(['install', '--yes', '--no-install-recommends', ...packages], log);
  } finally {
    if (isOurPolicy) rmSync(policy);
  }
  if (!hadEpmd && (await isListening(4369))) await runQuietly('epmd', ['-kill']);
}

async function aptGet(args: readonly string[], log: Log): Promise<void> {
  const child = spawn('apt-get', ['-q', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer) => {
    output += chunk.toString('utf8');
    for (const [, line] of chunk.toString('utf8').matchAll(/^((?:Get:|Unpacking |Setting up ).*)$/gm))
      log(`  ${line}`);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const code = await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  if (code !== 0)
    throw new Error(`apt-get ${args.join(' ')} failed with ${String(code)}:\n${output.slice(-2_000)}`);
}

async function runQuietly(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: 'ignore' });
  await new Promise((resolve) => child.once('close', resolve).once('error', resolve));
}

function isListening(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  }).finally(() => socket.destroy());
}
