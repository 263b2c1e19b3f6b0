/** Redis with its append-only file: without it a kill loses every key, with it at most the last second. */
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import type { Part } from './part.ts';
import { ServerProcess } from './server-process.ts';

export interface RedisPlace {
  readonly program: string;
  readonly dir: string;
  readonly port: number;
}

export function createRedis({ program, dir, port }: RedisPlace): Part {
  const data = path.join(dir, 'redis');
  const args = {
    port: String(port),
    bind: '127.0.0.1',
    dir: data,
    appendonly: 'yes',
    appendfsync: 'always',
    save: '',
    daemonize: 'no',
    'maxmemory-policy': 'noeviction', // an evicted guard key would let a message take effect twice
  };
  const server = new ServerProcess({
    name: 'redis',
    command: program,
    args: Object.entries(args).flatMap(([name, value]) => [`--${name}`, value]),
    stopSignal: 'SIGTERM',
    dir,
  });
  return {
    name: 'redis',
    start: () => {
      mkdirSync(data, { recursive: true });
      return server.start(() => checkRedis(`redis://127.0.0.1:${port}`), 20_000);
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
    pause: () => server.pause(),
    resume: () => server.resume(),
  };
}

/**
 * Passes when Redis answers commands; a Redis that asks for a password counts as well.
 *
 * @throws when it is not there or still loads its data
 */
export async function checkRedis(redisUrl: string): Promise<void> {
  const { hostname, port } = new URL(redisUrl);
  const socket = connect({ host: hostname, port: Number(port || 6379), timeout: 1_000 });
  socket.once('timeout', () => socket.destroy(new Error('Redis did not answer within 1 s')));
  try {
    socket.write('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    if (!/^(\+PONG|-NOAUTH)/.test(answer.toString('latin1')))
      throw new Error(`Redis answered ${answer.toString('latin1')}`);
  } finally {
    socket.destroy();
  }
}
