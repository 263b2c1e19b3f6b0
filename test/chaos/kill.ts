/** The injector: kills a part of the stack and proves that it happened. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { isRunning, processTree, type ProcessEntry } from '../stack/process-tree.ts';
import type { Stack } from '../stack/stack.ts';

const portNames = { rabbitmq: 'amqp', redis: 'redis', postgres: 'postgres' } as const;

/**
 * SIGKILL to every process of a part.
 * @throws when it was not there before, or any of its processes is there afterwards, or its port still answers
 */
export async function killPart(stack: Stack, name: keyof Stack['parts']): Promise<void> {
  const port = stack.ports[portNames[name]];
  const tree = treeOf(stack, name);
  if (!(await answers(port))) throw new Error(`${name} was not there to be killed.`);
  await stack.parts[name].kill();
  const left = tree.filter(isRunning);
  if (left.length > 0) throw new Error(`${name} survived: ${left.map(({ pid }) => pid).join(', ')}.`);
  if (await answers(port)) throw new Error(`Something still answers at the port of ${name}.`);
}

/** Empty for a part in a container: its processes are not ours to see. */
function treeOf({ addresses }: Stack, name: string): readonly ProcessEntry[] {
  const file = path.join(addresses.dir, `${name}.pid.json`);
  if (!existsSync(file)) return [];
  const { pid } = JSON.parse(readFileSync(file, 'utf8')) as ProcessEntry;
  const tree = processTree(pid);
  if (tree.length === 0) throw new Error(`${name} was gone before it could be killed.`);
  return tree;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port, timeout: 2_000 });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
