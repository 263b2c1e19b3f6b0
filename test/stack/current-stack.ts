/** How a test file reaches the stack it runs on, and how it gets a corner of its own. */
import path from 'node:path';
import { amqpUrlOf, createDatabase, createVhost, postgresUrlOf, type StackAddresses } from './addresses.ts';
import { portsPerStack, type StackPlace } from './ports.ts';
import { startStack, type Stack } from './stack.ts';

/** Holds the StackAddresses as JSON. */
export const testStackVariable = 'SETWAY_TEST_STACK';

/** A vhost and a database nobody else uses, and a prefix for keys in the Redis that all share. */
export interface Corner {
  readonly name: string;
  readonly vhost: string;
  readonly amqpUrl: string;
  readonly database: string;
  readonly postgresUrl: string;
  readonly redisPrefix: string;
}

export interface CurrentStack extends StackAddresses {
  /** @example const corner = await useStack().createCorner('publish'); */
  createCorner(topic: string): Promise<Corner>;
}

/** @throws when the tests were not started through `npm test`, with the remedy */
export function useStack(env: NodeJS.ProcessEnv = process.env): CurrentStack {
  const text = env[testStackVariable];
  if (text === undefined) {
    throw new Error(
      `No stack: run "npm test", or set ${testStackVariable} to what test/stack/serve.ts prints.`,
    );
  }
  const addresses = JSON.parse(text) as StackAddresses;
  return { ...addresses, createCorner: (topic) => createCorner(addresses, topic) };
}

/**
 * A stack for one test file alone, whose parts it may kill. Only programs installed here or containers serve: given
 * addresses are left alone.
 *
 * @param number 0 to 3, when one file needs several at once
 * @example const stack = await startPrivateStack(); // and in afterAll: await stack.stop()
 */
export async function startPrivateStack(number: 0 | 1 | 2 | 3 = 0): Promise<Stack> {
  return startStack({ ...privatePlace(number), data: 'fresh', log: () => {}, env: ownServersOnly() });
}

/** Where a test file's own stack lives: no other file of this run, nor a worker beside it, takes these ports. */
export function privatePlace(number: 0 | 1 | 2 | 3): StackPlace {
  const current = useStack();
  const worker = Number(process.env['VITEST_POOL_ID'] ?? 1);
  const portBase = current.portBase + portsPerStack * (1 + 4 * (worker - 1) + number);
  return { portBase, dir: path.join(privateStacksDir(current), String(portBase)) };
}

/** The environment without the addresses of servers that are not ours to stop. */
export function ownServersOnly(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^SETWAY_.*_URL$/.test(name)));
}

export function privateStacksDir({ dir }: StackAddresses): string {
  return path.join(dir, 'private');
}

async function createCorner(addresses: StackAddresses, topic: string): Promise<Corner> {
  const name = `${topic}-${crypto.randomUUID().slice(0, 8)}`;
  await Promise.all([createVhost(addresses, name), createDatabase(addresses, name)]);
  return {
    name,
    vhost: name,
    amqpUrl: amqpUrlOf(addresses, name),
    database: name,
    postgresUrl: postgresUrlOf(addresses, name),
    redisPrefix: `${name}:`,
  };
}
