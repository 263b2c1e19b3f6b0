/** What an isolate keeps between requests: parsed settings, the catalog, clients. Values only, never a request's promise. */
import { waitUntil } from 'cloudflare:workers';
import { systemClock } from '../../shared/clock.ts';
import type { Courier } from '../../shared/delivery/courier.ts';
import { Problem } from '../../shared/problem.ts';
import { readSettings } from '../../shared/settings.ts';
import { configureDatabases, defaultDatabaseTimeoutMs } from '../../shared/store/database.ts';
import { postWebhook } from '../../shared/webhook/request.ts';
import { createWorld, webhookPolicy, type World } from '../assemble.ts';
import { createCourier } from '../courier.ts';
import { webhookFunctions } from '../webhooks/functions.ts';

/** The bindings of wrangler.toml; the settings are text beside them. */
export interface Env {
  readonly SET_HOST: DurableObjectNamespace;
}

let world: World | undefined;
let courier: Courier | undefined;

/** One structured line of the worker's log. */
export function print(entry: object): void {
  console.info(JSON.stringify(entry));
}

/** @throws Problem `invalid-settings` that lists every fault */
export function worldOf(env: Env): World {
  world ??= openWorld(env);
  return world;
}

function openWorld(env: Env): World {
  const settings = readSettings({ ...env });
  const {
    SETWAY_NEON_ENDPOINT: endpoint,
    SETWAY_REDIS_REST_URL: url,
    SETWAY_REDIS_REST_TOKEN: token,
  } = settings;
  if (url === undefined || token === undefined) {
    throw new Problem('invalid-settings', 'Set SETWAY_REDIS_REST_URL and SETWAY_REDIS_REST_TOKEN.');
  }
  configureDatabases({
    timeoutMs: defaultDatabaseTimeoutMs,
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  return createWorld(settings, { redis: { url, token }, inBackground: waitUntil, log: print });
}

export function courierOf(env: Env): Courier {
  const { settings, ...parts } = worldOf(env);
  courier ??= createCourier({
    functions: webhookFunctions({ ...parts, databaseUrl: settings.SETWAY_WEBHOOK_DATABASE }),
    post: (request) =>
      postWebhook({ fetch: (input, init) => fetch(input, init), clock: systemClock }, request),
    policy: webhookPolicy(settings),
    deliveryIds: parts.deliveryIds,
    clock: systemClock,
    sliceSize: Number.POSITIVE_INFINITY,
  });
  return courier;
}
