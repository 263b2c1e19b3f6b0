/** The parts as containers of `compose.yaml`, for machines where only Docker is at hand. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import path from 'node:path';
import type { BrokerPart, Part } from './part.ts';
import { repoDir, type Ports } from './ports.ts';
import { syncTables } from './rabbitmq.ts';

const run = promisify(execFile);

/** Is there a Docker engine that answers, and the compose plugin? */
export async function hasDocker(): Promise<boolean> {
  try {
    await run('docker', ['compose', 'version'], { timeout: 10_000 });
    await run('docker', ['version', '--format', '{{.Server.Version}}'], { timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/** One service of compose.yaml as a part of the stack; every stack is a compose project of its own. */
export function createComposePart(name: Part['name'], ports: Ports): Part {
  const compose = (...args: string[]) => callCompose(ports, args);
  const inBackground = (...args: string[]) => void compose(...args).catch(() => {}); // shows in the next check
  return {
    name,
    start: () => compose('up', '--detach', '--wait', name),
    stop: () => compose('rm', '--force', '--stop', name),
    kill: () => compose('kill', '--signal', 'SIGKILL', name),
    pause: () => inBackground('pause', name),
    resume: () => inBackground('unpause', name),
  };
}

export function createComposeBroker(ports: Ports): BrokerPart {
  const syncQueueNames = () =>
    callCompose(ports, ['exec', '-T', 'rabbitmq', 'rabbitmqctl', 'eval', syncTables]);
  return { ...createComposePart('rabbitmq', ports), syncQueueNames };
}

/** Removes the containers, the network and the data of a stack. */
export function eraseCompose(ports: Ports): Promise<void> {
  return callCompose(ports, ['down', '--volumes']);
}

async function callCompose(ports: Ports, args: readonly string[]): Promise<void> {
  const env = {
    ...process.env,
    SETWAY_COMPOSE_PROJECT: `setway-${ports.amqp}`,
    SETWAY_AMQP_PORT: String(ports.amqp),
    SETWAY_MANAGEMENT_PORT: String(ports.management),
    SETWAY_REDIS_PORT: String(ports.redis),
    SETWAY_POSTGRES_PORT: String(ports.postgres),
  };
  await run('docker', ['compose', '--file', path.join(repoDir, 'compose.yaml'), ...args], { env });
}
