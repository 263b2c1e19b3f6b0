/**
 * The one way to Upstash's Redis client: over its REST API, or through an in-process requester in front of a plain
 * Redis. Guard and ledger need nothing but Lua scripts, so `RedisScripts` is all that leaves this file.
 *
 * Why these settings:
 * - A script runs atomically in one round trip. EVAL rather than EVALSHA: a restarted Redis has forgotten every script,
 *   and a second round trip for NOSCRIPT costs more than sending some hundred bytes.
 * - The client's defaults wait without limit and try 6 times, longer than a webhook has. Here one signal bounds all tries
 *   together, and there are two. A try whose answer was lost may have run: every script must be safe to run twice.
 * - Replies stay text. By default the client parses what looks like JSON, so a kept answer would come back as an object.
 * - Auto-pipelining stays on: commands of one turn of the event loop share a request. It does not keep their order,
 *   which is sound only because each script is awaited before the next of the same holder is sent.
 */
import { Redis } from '@upstash/redis';
import { Problem } from '../problem.ts';

/** Runs Lua in Redis. */
export interface RedisScripts {
  /**
   * @param script Lua, safe to run twice with the same arguments
   * @returns Redis' reply: strings, integers, null, or arrays of them
   * @throws Problem `redis-unavailable` for whatever keeps Redis from answering
   */
  run(script: string, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
}

/** Stands for Upstash's HTTP client, for a Redis reached without HTTP. */
interface RedisRequester {
  request<Result = unknown>(request: {
    readonly path?: string[];
    readonly body?: unknown;
    readonly signal?: AbortSignal;
  }): Promise<{ readonly result?: Result; readonly error?: string }>;
}

export type RedisAccess =
  | { readonly url: string; readonly token: string }
  | { readonly requester: RedisRequester };

export interface RedisOptions {
  /** Total time of one script, tries included. */
  readonly timeoutMs?: number;
}

/** Far above a slow round trip between continents, far below a webhook's timeout. */
const defaultTimeoutMs = 2_000;
/** A dropped connection is worth one fresh one; a server that is gone is not worth waiting for. */
const retryPauseMs = 50;

/**
 * A connection to Redis. Nothing is sent before the first script.
 *
 * @example
 * const redis = connectRedis({ url: 'https://eu1-example.upstash.io', token });
 * const guard = createRedisGuard(redis);
 */
export function connectRedis(access: RedisAccess, options: RedisOptions = {}): RedisScripts {
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const redis =
    'requester' in access ? overRequester(access.requester, timeoutMs) : overRest(access, timeoutMs);
  return {
    run: async (script, keys, args) => {
      try {
        return await redis.eval(script, [...keys], args.map(String));
      } catch (error) {
        // An error reply (LOADING, READONLY, OOM, a spent quota) leaves the question as open as no reply.
        throw new Problem('redis-unavailable', 'Redis does not answer as it should.', { cause: error });
      }
    },
  };
}

function overRest(access: { readonly url: string; readonly token: string }, timeoutMs: number): Redis {
  return new Redis({
    ...access,
    automaticDeserialization: false,
    enableTelemetry: false,
    retry: { retries: 1, backoff: () => retryPauseMs },
    signal: () => AbortSignal.timeout(timeoutMs),
  });
}

/** The client takes no options beside a requester, yet keeps them in a protected field. */
class TextRedis extends Redis {
  protected override opts = { automaticDeserialization: false };
}

function overRequester(requester: RedisRequester, timeoutMs: number): Redis {
  return new TextRedis({
    request: ({ path, body }) =>
      requester.request({ ...(path ? { path } : {}), body, signal: AbortSignal.timeout(timeoutMs) }),
  });
}
