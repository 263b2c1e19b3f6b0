/**
 * The guard in Redis: one string per key, `P:<token>:<fingerprint>` or `D:<token>:<fingerprint>`, its expiry the lease
 * or the retention. One script per step.
 *
 * The client sends a step again when its answer was lost, so each recognises its own token: a second `reserve` is still
 * reserved and a second `complete` still true. That is why the done marker keeps the token.
 *
 * What Redis forgets, the guard forgets. It must not evict (`noeviction`; eviction takes exactly the keys that expire), and
 * it must persist: with `appendfsync always` nothing that was answered is lost. With `everysec` a kill may take up to the
 * last two seconds, because Redis holds back its writes while the disk is busy with the sync before (Redis: Persistence,
 * "append-only file"). Where that is not in your hands, put the database behind it (fallback-guard.ts).
 */
import type { Guard, Reservation } from './guard.ts';
import type { RedisScripts } from './upstash.ts';

/** Splits a value; the token is a UUID and has no colon. */
const parse = `
local value = redis.call('GET', KEYS[1])
local state, token, fingerprint
if value then state, token, fingerprint = string.match(value, '^(%u):([^:]*):(.*)$') end
`;

/** ARGV: token, fingerprint, lease in ms. */
const reserveScript = `${parse}
if not value then
  redis.call('SET', KEYS[1], 'P:' .. ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
  return {'reserved', 0}
end
if fingerprint ~= ARGV[2] then return {'mismatch', 0} end
if state == 'D' then return {'duplicate', 0} end
if token == ARGV[1] then return {'reserved', 0} end
return {'in-flight', redis.call('PTTL', KEYS[1])}
`;

/** ARGV: token, lease in ms. */
const renewScript = `${parse}
if state ~= 'P' or token ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;

/** ARGV: token, fingerprint, retention in ms. A missing key means that nobody else holds it. */
const completeScript = `${parse}
if value and token ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'D:' .. ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1
`;

/** ARGV: token. */
const releaseScript = `${parse}
if state ~= 'P' or token ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/**
 * @param newToken makes the unguessable name of one holder
 * @example
 * const guard = createRedisGuard(connectRedis({ url, token }));
 * const reservation = await guard.reserve('idem:receipt:msg_…', fingerprint, 30_000);
 */
export function createRedisGuard(
  redis: RedisScripts,
  newToken: () => string = () => crypto.randomUUID(),
): Guard {
  return {
    reserve: async (key, fingerprint, leaseMs) => {
      const token = newToken();
      const reply = await redis.run(reserveScript, [key], [token, fingerprint, leaseMs]);
      return toReservation(reply as [Reservation['outcome'], number], token);
    },
    renew: async (key, token, leaseMs) => (await redis.run(renewScript, [key], [token, leaseMs])) === 1,
    complete: async (key, token, { fingerprint, ttlMs }) =>
      (await redis.run(completeScript, [key], [token, fingerprint, ttlMs])) === 1,
    release: async (key, token) => {
      await redis.run(releaseScript, [key], [token]);
    },
  };
}

function toReservation([outcome, remainingMs]: [Reservation['outcome'], number], token: string): Reservation {
  switch (outcome) {
    case 'reserved':
      return { outcome, token };
    case 'in-flight':
      return { outcome, retryAfterMs: Math.max(1, remainingMs) };
    case 'duplicate':
    case 'mismatch':
      return { outcome };
  }
}
