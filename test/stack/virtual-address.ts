/**
 * An address that outlives the machine that holds it: two HAProxies, each in a network namespace of its own that stands
 * for a machine, and a Keepalived beside each. The two Keepalived agree by VRRP (RFC 5798) on who has the address; it
 * moves when the other one is not heard for 3 s, or when its HAProxy does not answer twice in a row.
 *
 *     this machine ── bridge ──┬── namespace 1: HAProxy, Keepalived ─┐ one of them has
 *                              └── namespace 2: HAProxy, Keepalived ─┘ the virtual address
 *
 * It needs root, `ip` and Keepalived, and a kernel with namespaces, veth and bridges.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { createBalancer, type Balancer, type BalancerPlace } from './balancer.ts';
import { until } from './part.ts';
import { ServerProcess } from './server-process.ts';

const run = promisify(execFile);

/** The bridge between this machine and the namespaces. */
export interface Network {
  readonly ip: string;
  readonly bridge: string;
  /** `10.213.<number>` */
  readonly prefix: string;
  /** Of the cluster's nodes: addresses of this machine on the bridge. */
  readonly nodeAddresses: readonly string[];
  remove(): void;
}

/**
 * @param number tells the networks of several stacks apart
 * @throws when this machine does not allow it
 */
export async function createNetwork(ip: string, number: number): Promise<Network> {
  const bridge = `setway${number}`;
  const prefix = `10.213.${number % 256}`;
  const nodeAddresses = [101, 102, 103].map((last) => `${prefix}.${last}`);
  const remove = (): void => quietly(ip, 'link', 'del', bridge);
  remove(); // a run that was killed leaves it
  try {
    await run(ip, ['link', 'add', bridge, 'type', 'bridge']);
    for (const address of nodeAddresses) await run(ip, ['addr', 'add', `${address}/24`, 'dev', bridge]);
    await run(ip, ['link', 'set', bridge, 'up']);
    await tryNamespace({ ip, bridge, prefix }, { name: `${bridge}-try`, last: 250 });
  } catch (error) {
    remove();
    throw error;
  }
  return { ip, bridge, prefix, nodeAddresses, remove };
}

export interface VirtualAddressPlace {
  readonly network: Network;
  readonly keepalived: string;
  readonly dir: string;
  /** Last part of the virtual address; the two machines have the next two. Also the VRRP group. */
  readonly last: number;
  readonly balancer: Pick<BalancerPlace, 'haproxy' | 'ports'>;
}

export interface LoadBalancerMachine {
  readonly namespace: string;
  readonly address: string;
  readonly balancer: Balancer;
  readonly keepalived: ServerProcess;
  /** Whether it has the virtual address now. */
  holdsAddress(): Promise<boolean>;
  /** The machine goes: SIGKILL to both, and its cable is pulled. */
  kill(): Promise<void>;
}

export interface VirtualAddress {
  readonly address: string;
  readonly machines: readonly [LoadBalancerMachine, LoadBalancerMachine];
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createVirtualAddress(place: VirtualAddressPlace): VirtualAddress {
  const { network, last } = place;
  const address = `${network.prefix}.${last}`;
  const machines = [1, 2].map((number) => createMachine(place, number)) as [MachineParts, MachineParts];
  return {
    address,
    machines,
    start: async () => {
      for (const machine of machines) await machine.start();
      await until(async () => {
        const holders = await Promise.all(machines.map((machine) => machine.holdsAddress()));
        if (holders.filter(Boolean).length !== 1)
          throw new Error('Nobody, or both, have the virtual address.');
      }, 15_000);
    },
    stop: async () => {
      await Promise.all(machines.map((machine) => machine.stop()));
    },
  };
}

interface MachineParts extends LoadBalancerMachine {
  start(): Promise<void>;
  stop(): Promise<void>;
}

function createMachine(place: VirtualAddressPlace, number: number): MachineParts {
  const { network, dir, keepalived, last } = place;
  const { ip, prefix, bridge } = network;
  const namespace = `${bridge}-${last}-${number}`;
  const address = `${prefix}.${last + number}`;
  const inNamespace = [ip, 'netns', 'exec', namespace];
  const balancer = createBalancer({
    ...place.balancer,
    name: `haproxy-${number}`,
    dir,
    listen: '0.0.0.0',
    reachedAt: address,
    nodeAddresses: network.nodeAddresses,
    inNamespace,
  });
  const file = (name: string): string => path.join(dir, `keepalived-${number}.${name}`);
  const files = { 'use-file': 'conf', pid: 'pid', vrrp_pid: 'vrrp.pid' };
  const guard = new ServerProcess({
    name: `keepalived-${number}`,
    command: ip,
    args: [
      ...inNamespace.slice(1),
      keepalived,
      ...Object.entries(files).flatMap(([option, name]) => [`--${option}`, file(name)]),
      '--dont-fork',
      '--vrrp',
      '--log-console',
    ],
    stopSignal: 'SIGTERM',
    dir,
  });
  const holdsAddress = async (): Promise<boolean> => {
    const { stdout } = await run(ip, ['-n', namespace, '-o', '-4', 'addr', 'show', 'dev', 'eth0']);
    return stdout.includes(` ${prefix}.${last}/`);
  };
  return {
    namespace,
    address,
    balancer,
    keepalived: guard,
    holdsAddress,
    start: async () => {
      await addNamespace(network, { name: namespace, last: last + number });
      mkdirSync(dir, { recursive: true });
      writeFileSync(file('alive'), aliveScript(place.balancer.ports.management), { mode: 0o700 });
      writeFileSync(file('conf'), keepalivedConfiguration(place, number, file('alive')));
      await balancer.start();
      await guard.start(async () => void (await holdsAddress()), 10_000);
    },
    kill: async () => {
      await Promise.all([guard.kill(), balancer.kill()]);
      quietly(ip, 'netns', 'del', namespace);
    },
    stop: async () => {
      await guard.stop();
      await balancer.stop();
      quietly(ip, 'netns', 'del', namespace);
    },
  };
}

/** An HAProxy that hangs still accepts connections: it has to answer. */
function aliveScript(port: number): string {
  return [
    '#!/bin/bash',
    `exec 3<>/dev/tcp/127.0.0.1/${port} || exit 1`,
    String.raw`printf 'GET /haproxy/alive HTTP/1.0\r\n\r\n' >&3`,
    'read -t 1 -r line <&3 && [[ $line == *200* ]]',
    '',
  ].join('\n');
}

/** https://www.keepalived.org/manpage.html. Unicast, since not every bridge carries multicast. */
function keepalivedConfiguration(
  { network, last }: VirtualAddressPlace,
  number: number,
  alive: string,
): string {
  const { prefix } = network;
  return `global_defs {
  router_id balancer-${number}
  script_user root
  vrrp_garp_master_refresh 5
}
vrrp_script balancer {
  script "${alive}"
  interval 1
  timeout 2
  fall 2
  rise 2
}
vrrp_instance address {
  state BACKUP
  interface eth0
  virtual_router_id ${last}
  priority ${110 - number * 10}
  advert_int 1
  nopreempt
  unicast_src_ip ${prefix}.${last + number}
  unicast_peer {
    ${prefix}.${last + 3 - number}
  }
  virtual_ipaddress {
    ${prefix}.${last}/24 dev eth0
  }
  track_script {
    balancer
  }
}
`;
}

type Bridge = Pick<Network, 'ip' | 'bridge' | 'prefix'>;
interface Namespace {
  readonly name: string;
  readonly last: number;
}

/** A namespace with one cable to the bridge. What a killed run left of it is removed first. */
async function addNamespace({ ip, bridge, prefix }: Bridge, { name, last }: Namespace): Promise<void> {
  quietly(ip, 'netns', 'del', name);
  const cable = `${bridge}.${last}`;
  quietly(ip, 'link', 'del', cable);
  await run(ip, ['netns', 'add', name]);
  await run(ip, ['link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
  await run(ip, ['link', 'set', cable, 'master', bridge, 'up']);
  await run(ip, ['-n', name, 'link', 'set', 'lo', 'up']);
  await run(ip, ['-n', name, 'addr', 'add', `${prefix}.${last}/24`, 'dev', 'eth0']);
  await run(ip, ['-n', name, 'link', 'set', 'eth0', 'up']);
}

/** @throws when this machine does not allow namespaces */
async function tryNamespace(bridge: Bridge, namespace: Namespace): Promise<void> {
  try {
    await addNamespace(bridge, namespace);
  } finally {
    quietly(bridge.ip, 'netns', 'del', namespace.name);
  }
}

/** What is not there need not be removed. */
function quietly(ip: string, ...args: readonly string[]): void {
  try {
    execFileSync(ip, [...args], { stdio: 'ignore' });
  } catch {
    // nothing to remove
  }
}
