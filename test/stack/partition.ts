/**
 * Broken networks: rules of the packet filter drop what two parties say to each other; nothing is answered, nothing
 * refused, as when a switch fails. Linux, as root.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Cluster, ClusterNode } from './cluster.ts';

const run = promisify(execFile);

export interface Partition {
  /** Packets dropped so far: shows that the fault happened. */
  droppedPackets(): Promise<number>;
  heal(): Promise<void>;
}

/**
 * Cuts one node of a cluster off the other two, and only there: its clients still reach it.
 *
 * @param nft from findPacketFilter
 * @example const cut = await cutOff(nft, cluster, cluster.nodes[2]); … await cut.heal();
 */
export function cutOff(nft: string, cluster: Cluster, node: ClusterNode): Promise<Partition> {
  const others = cluster.nodes.filter((other) => other !== node).map(({ address }) => address);
  const ports = `{ ${cluster.ports.erlang.join(', ')} }`;
  const directions = [
    `ip saddr ${node.address} ip daddr { ${others.join(', ')} }`,
    `ip saddr { ${others.join(', ')} } ip daddr ${node.address}`,
  ];
  const packets = directions.flatMap((direction) => [
    `${direction} tcp dport ${ports}`,
    `${direction} tcp sport ${ports}`,
  ]);
  return drop(nft, `setway_${cluster.ports.amqp}`, packets);
}

/** A local server that processes of a user cannot reach. */
export interface Wall {
  readonly uid: number;
  readonly port: number;
}

/** @param name of its own, among all partitions of this machine */
export function wallOff(nft: string, name: string, walls: readonly Wall[]): Promise<Partition> {
  return drop(
    nft,
    `setway_${name}`,
    walls.map(({ uid, port }) => `meta skuid ${uid} ip daddr 127.0.0.1 tcp dport ${port}`),
  );
}

/** Drops packets on their way out, where their user is still known. */
async function drop(nft: string, table: string, packets: readonly string[]): Promise<Partition> {
  const heal = async (): Promise<void> => {
    // What is not there counts as healed.
    await run(nft, ['delete', 'table', 'ip', table]).catch(() => undefined);
  };
  await heal();
  const rules = packets.map((packet) => `${packet} counter drop`).join('\n');
  const chain = `chain cut {\ntype filter hook output priority 0; policy accept;\n${rules}\n}`;
  await run(nft, [`table ip ${table} {\n${chain}\n}`]);
  return {
    heal,
    async droppedPackets() {
      const { stdout } = await run(nft, ['list', 'table', 'ip', table]);
      return [...stdout.matchAll(/packets (\d+)/g)].reduce((sum, [, amount]) => sum + Number(amount), 0);
    },
  };
}
