/** HAProxy before the nodes of a cluster, with the `haproxy.cfg` of this repository. */
import path from 'node:path';
import type { ClusterPorts } from './cluster.ts';
import { repoDir } from './ports.ts';
import { ServerProcess } from './server-process.ts';

export interface BalancerPlace {
  readonly name: string;
  readonly haproxy: string;
  readonly dir: string;
  /** Address it listens on, and where it is asked whether it lives. */
  readonly listen: string;
  readonly reachedAt: string;
  /** Of the nodes, in their order. */
  readonly nodeAddresses: readonly string[];
  readonly ports: Pick<ClusterPorts, 'amqp' | 'management'>;
  /** What runs a program in the namespace it belongs to, such as `ip netns exec <name>`. */
  readonly inNamespace?: readonly string[];
}

export interface Balancer {
  readonly name: string;
  readonly pid: number | undefined;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** @example await createBalancer({ name: 'haproxy', haproxy: '/usr/sbin/haproxy', ... }).start(); */
export function createBalancer(place: BalancerPlace): Balancer {
  const { name, haproxy, dir, ports, reachedAt, inNamespace = [] } = place;
  const program = [haproxy, '-db', '-f', path.join(repoDir, 'haproxy.cfg')];
  const [command = '', ...args] = [...inNamespace, ...program] as readonly string[];
  const server = new ServerProcess({
    name,
    command,
    args,
    env: { ...process.env, ...settingsOf(place) },
    stopSignal: 'SIGTERM',
    dir,
  });
  return {
    name,
    get pid() {
      return server.pid;
    },
    start: () => server.start(() => checkBalancer(`http://${reachedAt}:${ports.management}`), 10_000),
    stop: () => server.stop(),
    kill: () => server.kill(),
  };
}

function settingsOf({ listen, nodeAddresses, ports }: BalancerPlace): Readonly<Record<string, string>> {
  const ofNodes = nodeAddresses.flatMap((address, index) => [
    [`SETWAY_BALANCER_NODE_${index + 1}`, `${address}:${ports.amqp}`],
    [`SETWAY_BALANCER_MANAGEMENT_${index + 1}`, `${address}:${ports.management}`],
  ]);
  return {
    SETWAY_BALANCER_AMQP: `${listen}:${ports.amqp}`,
    SETWAY_BALANCER_MANAGEMENT: `${listen}:${ports.management}`,
    ...(Object.fromEntries(ofNodes) as Record<string, string>),
  };
}

/** @throws when it does not answer */
async function checkBalancer(url: string): Promise<void> {
  const response = await fetch(`${url}/haproxy/alive`, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`HAProxy answered ${response.status}.`);
}
