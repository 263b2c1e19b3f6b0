/**
 * Redis through any client that can send a command. The guard needs one, EVAL: every step is a script, because a step
 * that compares and then writes must not be interrupted.
 */
import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import { withinMs } from '../deadline.ts';
import { Problem } from '../problem.ts';
import type { RedisScripts } from './upstash.ts';

/** Sends one command and resolves with Redis' reply. */
export type SendRedisCommand = (command: readonly string[]) => Promise<unknown>;

export interface RedisCommandsOptions {
  /** Time of one command. Clients queue commands while they reconnect, which a webhook has no time for. Default 2 s. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
}

const defaultTimeoutMs = 2_000;

/**
 * @example ioredis: createRedisGuard(redisThrough(([name = '', ...args]) => client.call(name, ...args)))
 * @example node-redis: createRedisGuard(redisThrough((command) => client.sendCommand([...command])))
 */
export function redisThrough(send: SendRedisCommand, options: RedisCommandsOptions = {}): RedisScripts {
  const { timeoutMs = defaultTimeoutMs, clock = systemClock } = options;
  return {
    async run(script, keys, args) {
      try {
        const command = ['EVAL', script, String(keys.length), ...keys, ...args.map(String)];
        return await withinMs(clock, timeoutMs, send(command));
      } catch (error) {
        throw new Problem('redis-unavailable', 'Redis does not answer as it should.', { cause: error });
      }
    },
  };
}
