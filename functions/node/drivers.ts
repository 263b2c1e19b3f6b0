/** How a Node process reaches Postgres and Redis: in-process, without an HTTP hop, unless the settings name endpoints. */
import type { RedisAccess } from '../../shared/idempotency/upstash.ts';
import { Problem } from '../../shared/problem.ts';
import type { Settings } from '../../shared/settings.ts';
import { configureDatabases, defaultDatabaseTimeoutMs } from '../../shared/store/database.ts';
import { createNeonBridge } from './neon-bridge.ts';
import { upstashRequester } from './upstash-bridge.ts';

export interface Drivers {
  readonly redis: RedisAccess;
  /** Closes every connection, after what runs has ended. */
  close(): Promise<void>;
}

/** @throws Problem `invalid-settings` when no Redis is named */
export function openDrivers(settings: Settings): Drivers {
  const closers: (() => Promise<void>)[] = [];
  if (settings.SETWAY_NEON_ENDPOINT === undefined) {
    const bridge = createNeonBridge();
    closers.push(() => bridge.close());
    configureDatabases({ fetch: bridge.fetch, timeoutMs: defaultDatabaseTimeoutMs });
  } else {
    configureDatabases({ endpoint: settings.SETWAY_NEON_ENDPOINT, timeoutMs: defaultDatabaseTimeoutMs });
  }
  const redis = openRedis(settings, closers);
  return {
    redis,
    async close() {
      await Promise.all(closers.map((close) => close()));
    },
  };
}

function openRedis(settings: Settings, closers: (() => Promise<void>)[]): RedisAccess {
  const { SETWAY_REDIS_URL: direct, SETWAY_REDIS_REST_URL: url, SETWAY_REDIS_REST_TOKEN: token } = settings;
  if (direct !== undefined) {
    const requester = upstashRequester(direct);
    closers.push(() => requester.close());
    return { requester };
  }
  if (url !== undefined && token !== undefined) return { url, token };
  throw new Problem(
    'invalid-settings',
    'Set SETWAY_REDIS_URL, or SETWAY_REDIS_REST_URL and SETWAY_REDIS_REST_TOKEN.',
  );
}
