/**
 * The publish ledger in Redis: one hash per key, one script per step, each safe to run twice.
 *
 *   fingerprint, id, set   what the first request with this key asked and became
 *   leased_until           Unix ms by Redis' clock: before it an attempt is under way
 *   first                  the attempt that began: a repeated `reserve` of it is still `reserved`
 *   holder                 the attempt that holds the lease: a repeated `reserve` recognises itself
 *   answer                 the first answer, kept for its retention
 *
 * A pending entry outlives its lease, so that a retry goes on under the id it may already be stored under; `release` ends
 * the lease, so that it may go on at once. `finish` never replaces an answer, nor an entry with another id (Redis lost
 * this one meanwhile and another attempt began).
 */
import type { MessageId } from '../identifier.ts';
import type { LedgerEntry, PublishLedger } from './publish-ledger.ts';
import type { RedisScripts } from './upstash.ts';

/** How long an attempt that never came back is remembered; as long as clients are told that keys are kept. */
const defaultPendingMs = 24 * 60 * 60 * 1000;

/** ARGV: fingerprint, id, SET, lease in ms, retention of a pending entry in ms, holder. */
const reserveScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer', 'id', 'set', 'leased_until', 'holder', 'first')
local function hold()
  redis.call('HSET', KEYS[1], 'leased_until', now + ARGV[4], 'holder', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
if not kept[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'id', ARGV[2], 'set', ARGV[3], 'first', ARGV[6])
  hold()
  return {'reserved'}
end
if kept[1] ~= ARGV[1] then return {'mismatch'} end
if kept[2] then return {'answered', kept[2]} end
local remaining = tonumber(kept[5]) - now
if remaining > 0 and kept[6] ~= ARGV[6] then return {'in-flight', remaining} end
if kept[7] == ARGV[6] then
  hold()
  return {'reserved'}
end
hold()
return {'resumed', kept[3], kept[4]}
`;

/** ARGV: fingerprint, id, SET, answer, retention in ms. */
const finishScript = `
local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'id', 'answer')
if kept[3] then return 0 end
if kept[1] and (kept[1] ~= ARGV[1] or kept[2] ~= ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'id', ARGV[2], 'set', ARGV[3], 'answer', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
`;

/** ARGV: fingerprint, id. */
const releaseScript = `
local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'id', 'answer')
if kept[1] ~= ARGV[1] or kept[2] ~= ARGV[2] or kept[3] then return 0 end
return redis.call('HSET', KEYS[1], 'leased_until', 0)
`;

type Reply =
  | readonly ['reserved' | 'mismatch']
  | readonly ['answered', string]
  | readonly ['in-flight', number]
  | readonly ['resumed', string, string];

/**
 * @param options.pendingMs how long an attempt that never finished is remembered; above every lease
 * @example
 * const ledger = createRedisPublishLedger(connectRedis({ url, token }));
 */
export function createRedisPublishLedger(
  redis: RedisScripts,
  options: { readonly pendingMs?: number } = {},
): PublishLedger {
  const pendingMs = options.pendingMs ?? defaultPendingMs;
  return {
    reserve: async (key, { fingerprint, id, set, holder }, leaseMs) => {
      const args = [fingerprint, id, set, leaseMs, pendingMs, holder];
      return toEntry((await redis.run(reserveScript, [redisKey(key)], args)) as Reply);
    },
    finish: async (key, { fingerprint, id, set }, { answer, ttlMs }) => {
      await redis.run(finishScript, [redisKey(key)], [fingerprint, id, set, answer, ttlMs]);
    },
    release: async (key, { fingerprint, id }) => {
      await redis.run(releaseScript, [redisKey(key)], [fingerprint, id]);
    },
  };
}

function redisKey(key: string): string {
  return `publish:${key}`;
}

function toEntry(reply: Reply): LedgerEntry {
  switch (reply[0]) {
    case 'answered':
      return { outcome: 'answered', answer: reply[1] };
    case 'in-flight':
      return { outcome: 'in-flight', retryAfterMs: reply[1] };
    case 'resumed':
      return { outcome: 'resumed', id: reply[1] as MessageId, set: reply[2] };
    case 'reserved':
    case 'mismatch':
      return { outcome: reply[0] };
  }
}
