/** The injector of the HA tests: what it does to nodes, it proves. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { ClusterNode, Cluster } from '../stack/cluster.ts';
import { isRunning, processTree } from '../stack/process-tree.ts';
import { callManagement } from '../stack/rabbitmq.ts';
import { until } from '../stack/until.ts';

/**
 * SIGKILL to every process of a node.
 * @throws when it did not answer before, or anything of it is left afterwards
 */
export async function killNode(node: ClusterNode): Promise<void> {
  const tree = processTree(node.pid ?? 0);
  if (tree.length === 0 || !(await answersAmqp(node)))
    throw new Error(`${node.name} was not there to be killed.`);
  await node.kill();
  const left = tree.filter(isRunning);
  if (left.length > 0) throw new Error(`${node.name} survived: ${left.map(({ pid }) => pid).join(', ')}.`);
  if (await answersAmqp(node)) throw new Error(`Something still answers for ${node.name}.`);
}

/** SIGSTOP. @throws unless all of it stands still and its port, which the kernel keeps open, answers nothing */
export async function pauseNode(node: ClusterNode): Promise<void> {
  const { pid } = node;
  if (pid === undefined || !(await answersAmqp(node)))
    throw new Error(`${node.name} was not there to be paused.`);
  node.pause();
  await until(5_000, () => processTree(pid).every((entry) => stateOf(entry.pid) === 'T'));
  if (await answersAmqp(node)) throw new Error(`${node.name} goes on.`);
}

/** Whether it answers AMQP's protocol header within 2 s. */
export async function answersAmqp({ amqpUrl }: Pick<ClusterNode, 'amqpUrl'>): Promise<boolean> {
  const { hostname, port } = new URL(amqpUrl);
  const socket = connect({ host: hostname, port: Number(port) });
  try {
    const signal = AbortSignal.timeout(2_000);
    socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1'));
    await once(socket, 'data', { signal });
    return true;
  } catch {
    return false;
  } finally {
    socket.on('error', () => undefined).destroy();
  }
}

/** `T` is stopped. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function stateOf(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2)[0];
}

/** The node where a queue's leader is, through which every message of the queue goes. */
export async function leaderOf({ nodes }: Cluster, vhost: string, queue: string): Promise<ClusterNode> {
  return until(20_000, async () => {
    const [witness] = nodes;
    const path = `/api/queues/${encodeURIComponent(vhost)}/${encodeURIComponent(queue)}?columns=leader,members`;
    const answer = await callManagement(witness.managementUrl, 'GET', path);
    const { leader, members } = (await answer.json()) as {
      readonly leader?: string;
      readonly members?: readonly string[];
    };
    return members?.length === nodes.length && nodes.find(({ address }) => leader?.endsWith(`@${address}`));
  });
}

/** The nodes that a vhost's clients are connected to, as the node that is asked knows it. */
export async function connectedNodes(
  cluster: Cluster,
  witness: ClusterNode,
  vhost: string,
): Promise<readonly ClusterNode[]> {
  const answer = await callManagement(witness.managementUrl, 'GET', '/api/connections?columns=vhost,node');
  const connections = (await answer.json()) as readonly { readonly vhost: string; readonly node: string }[];
  const names = connections.filter((each) => each.vhost === vhost).map(({ node }) => node);
  return cluster.nodes.filter(({ address }) => names.some((name) => name.endsWith(`@${address}`)));
}
