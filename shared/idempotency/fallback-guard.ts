/**
 * Redis in front, the database behind: idempotency that survives the loss of Redis at any moment.
 *
 * The database decides; Redis spares it the copies. `reserve` asks Redis first. What Redis knows (duplicate, in flight,
 * mismatch) is the answer and costs the database nothing. What Redis does not know, or Redis being gone, goes to the
 * database, because "not in Redis" can also mean "Redis lost it". `complete` writes the done marker to the database
 * first, then to Redis; so whatever Redis calls done, the database calls done.
 *
 * A guard that turned to the database only during an outage could not work: the markers written before are in a Redis
 * that is gone, those written during it are unknown to the Redis that returns, and both sides would hand out the same key.
 *
 * | what happens | outcome |
 * |---|---|
 * | Redis is down from the start | every step in the database |
 * | dies after `reserve`, another copy arrives | the database holds the lease: in flight |
 * | dies during the handler | the lease goes on in the database, the done marker is written there |
 * | comes back empty, or without its last second | the database knows: duplicate or in flight; Redis' new entry is undone |
 * | comes back with an old lease whose handler is done | in flight until that lease ends, then the database says duplicate |
 * | reachable for some callers only (partition) | all meet in the database |
 * | answers lost, the step sent again | the token is recognised (see redis-guard.ts) |
 * | the database is down, Redis up | copies are still refused; a new key is a 503: never processed on Redis' word alone |
 * | both down | 503 |
 *
 * Left open, as in every guard with leases:
 * | race | what closes it |
 * |---|---|
 * | crash after the effect, before `complete` | the unique row in the handler's own transaction: `once` |
 * | the holder is paused beyond its lease and acts late | heed `context.signal`; `once` |
 * | a copy arrives after the done marker's retention | a retention above the longest retry schedule and replay |
 * | the database fails over to a replica that lacks the last commits | synchronous replication |
 */
import { Problem } from '../problem.ts';
import type { Guard, Reservation } from './guard.ts';

export interface FallbackGuardParts {
  readonly redis: Guard;
  readonly database: Guard;
}

/** A holder's token is both tokens: `<database>/<redis>`, the latter empty when Redis was away. */
const separator = '/';

/**
 * @example
 * const guard = createFallbackGuard({
 *   redis: createRedisGuard(connectRedis({ url, token })),
 *   database: createPostgresGuard(run),
 * });
 */
export function createFallbackGuard({ redis, database }: FallbackGuardParts): Guard {
  return {
    reserve: async (key, fingerprint, leaseMs) => {
      const front = await unlessRedisIsGone(redis.reserve(key, fingerprint, leaseMs));
      if (front && front.outcome !== 'reserved') return front;
      return reserveBehind({ redis, database }, { key, fingerprint, leaseMs, front });
    },
    renew: async (key, token, leaseMs) => {
      const [behind, front] = split(token);
      const renewed = database.renew(key, behind, leaseMs);
      if (front) await Promise.all([renewed, unlessRedisIsGone(redis.renew(key, front, leaseMs))]);
      return renewed;
    },
    complete: async (key, token, options) => {
      const [behind, front] = split(token);
      const isCompleted = await database.complete(key, behind, options);
      if (isCompleted && front) await unlessRedisIsGone(redis.complete(key, front, options));
      return isCompleted;
    },
    release: async (key, token) => {
      const [behind, front] = split(token);
      await database.release(key, behind);
      if (front) await unlessRedisIsGone(redis.release(key, front));
    },
  };
}

interface Asked {
  readonly key: string;
  readonly fingerprint: string;
  readonly leaseMs: number;
  /** What Redis said: reserved, or nothing. */
  readonly front: { readonly token: string } | undefined;
}

async function reserveBehind({ redis, database }: FallbackGuardParts, asked: Asked): Promise<Reservation> {
  const { key, front } = asked;
  const undoFront = async () => {
    if (front) await unlessRedisIsGone(redis.release(key, front.token));
  };
  try {
    const behind = await database.reserve(key, asked.fingerprint, asked.leaseMs);
    if (behind.outcome === 'reserved') return { ...behind, token: join(behind.token, front?.token) };
    await undoFront();
    return behind;
  } catch (error) {
    await undoFront();
    throw error;
  }
}

/** Redis only spares the database work, so its absence is an answer too: nothing known. */
async function unlessRedisIsGone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Problem && error.kind === 'redis-unavailable') return undefined;
    throw error;
  }
}

function join(behind: string, front = ''): string {
  return `${behind}${separator}${front}`;
}

function split(token: string): [behind: string, front: string] {
  const at = token.indexOf(separator);
  return [token.slice(0, at), token.slice(at + 1)];
}
