/**
 * Buckets that all edges share: shared/catalog/publish-limit.ts in Lua, all buckets of a request in one round trip, by
 * Redis' clock. Own Lua rather than `@upstash/ratelimit`: that asks one limit per round trip, cannot take from several or
 * none, and brings an analytics client along.
 *
 * Safe to run twice in that the second time counts once more: whoever lost an answer is slowed a little, nobody is let
 * through who should not be.
 */
import { fillOf, type Buckets, type Level } from '../catalog/publish-limit.ts';
import type { RedisScripts } from './upstash.ts';

/** ARGV, for each key: µs per token, µs of a full bucket, tokens. Answers wait, remaining, full after (µs) of each. */
const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local before, after, waits = {}, {}, {}
local taken = true
for i = 1, #KEYS do
  local token, full, amount = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  before[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), now)
  after[i] = before[i] + token * amount
  waits[i] = after[i] - full - now
  if waits[i] > 0 then taken = false end
end
local levels = {}
for i = 1, #KEYS do
  local token, full = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local at = before[i]
  if taken then
    at = after[i]
    redis.call('SET', KEYS[i], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000) + 1000)
  end
  levels[#levels + 1] = math.ceil(math.max(0, waits[i]))
  levels[#levels + 1] = math.max(0, math.floor((full - (at - now)) / token))
  levels[#levels + 1] = math.ceil(at - now)
end
return levels
`;

/** @example const buckets = createRedisBuckets(connectRedis({ url, token })); */
export function createRedisBuckets(redis: RedisScripts): Buckets {
  return {
    async take(wanted) {
      const args = wanted.flatMap(({ limit, amount }) => {
        const { tokenUs, fullUs } = fillOf(limit);
        return [tokenUs, fullUs, amount];
      });
      const keys = wanted.map(({ id }) => `limit:${id}`);
      const reply = (await redis.run(takeScript, keys, args)) as readonly (number | string)[];
      return wanted.map((_, index) => levelOf(reply.slice(3 * index, 3 * index + 3).map(Number)));
    },
  };
}

function levelOf([waitUs = 0, remaining = 0, fullAfterUs = 0]: readonly number[]): Level {
  return { waitMs: waitUs / 1000, remaining, fullAfterMs: fullAfterUs / 1000 };
}
