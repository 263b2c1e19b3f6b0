/**
 * The stage of an example: a deployment of its own on a stack that runs, an edge with its SET hosts in a Node process, a
 * server for the example's webhooks, and a database for its business. All of it goes when the example ends.
 */
import { serve } from '@hono/node-server';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { createWebhookSecret } from '../../../shared/webhook/signature.ts';
import { startNodeHost } from '../../chaos/node-host.ts';
import {
  createDatabase,
  dropDatabase,
  postgresUrlOf,
  removeOwnVhosts,
  type StackAddresses,
} from '../../stack/addresses.ts';
import { createClient } from '../../stack/client.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../../stack/deployment.ts';
import { openJobProcess } from '../../stack/job-process.ts';
import type { CatalogPart, Example, Place, Stage } from './example.ts';

/** Short waits: an example is no place to be patient. Its crons run when it says so. */
const settings = {
  SETWAY_PORT: '0',
  SETWAY_CRON: 'off',
  SETWAY_CATALOG_MAX_AGE_MS: '200',
  SETWAY_HEARTBEAT_SECONDS: '1',
  SETWAY_STOP_GRACE_SECONDS: '5',
  // A SET that answers late on a busy machine is none that is away.
  SETWAY_ACCEPT_TIMEOUT_MS: '10000',
  SETWAY_ACCEPT_DEADLINE_MS: '12000',
} as const;

export interface Performance {
  readonly addresses: StackAddresses;
  readonly print: (line: string) => void;
}

/**
 * Plays an example from the first step to its checks.
 * @throws what the play throws
 * @example const outcome = await perform({ addresses: useStack(), print: console.log }, bankTransfer);
 */
export async function perform(performance: Performance, example: Example): Promise<'right' | 'wrong'> {
  const { addresses, print } = performance;
  const prefix = freshPrefix(example.name);
  const closers: (() => Promise<unknown>)[] = [];
  let outcome: 'right' | 'wrong' = 'right';
  let steps = 0;
  const spoken = {
    say: (step: string) => print(`  ${++steps}. ${step}`),
    check(claim: string, isTrue: boolean) {
      print(`  ${isTrue ? '✓' : '✗'} ${claim}`);
      if (!isTrue) outcome = 'wrong';
    },
  };
  print(`${example.name}: ${example.shows}`);
  try {
    await example.play({ ...(await setUp(addresses, { example, prefix, closers })), ...spoken });
    return outcome;
  } finally {
    // The last opened first; one that fails does not keep the others open.
    for (const close of closers.toReversed()) await close().catch((error: unknown) => print(String(error)));
  }
}

interface Setting {
  readonly example: Example;
  readonly prefix: string;
  /** What is to be closed, in the order it was opened. */
  readonly closers: (() => Promise<unknown>)[];
}

async function setUp(
  addresses: StackAddresses,
  { example, prefix, closers }: Setting,
): Promise<Omit<Stage, 'say' | 'check'>> {
  const hooks = await serveHooks();
  closers.push(() => hooks.close());
  const business = `${prefix}_business`;
  const place: Place = {
    hooksUrl: hooks.url,
    secret: createWebhookSecret(),
    databaseUrl: postgresUrlOf(addresses, business),
  };
  await createDatabase(addresses, business);
  const deployment = await deploy(
    addresses,
    prefix,
    () => undefined,
    (seed) => ({ ...seed, ...own(example.catalog(place)) }),
  );
  closers.push(
    () => removeOwnVhosts(),
    // Side by side: Postgres writes everything to disk once for all of them.
    () => Promise.all([business, ...databasesOf(deployment)].map((name) => dropDatabase(addresses, name))),
  );
  const environment = { ...deployment.settings, ...directSettings(addresses), ...settings };
  const server = await startNodeHost(environment);
  closers.push(() => server.stop());
  const pool = new pg.Pool({ connectionString: place.databaseUrl, max: 8 });
  closers.push(() => pool.end());
  const { apiKey } = deployment;
  return {
    ...place,
    edge: { url: server.url, apiKey },
    client: createClient(server.url, { apiKey }),
    business: pool,
    sql: (text, params) => pool.query(text, [...params]),
    redis: addresses.upstash,
    hook: hooks.hook,
    async runJobs(...jobs) {
      const process = openJobProcess(environment);
      try {
        await process.run(...jobs);
      } finally {
        await process.close();
      }
    },
  };
}

/** The demo's own topics and consumers stay away. */
function own({ topics = [], subscriptions = [], outboxes = [] }: CatalogPart): Required<CatalogPart> {
  return { topics, subscriptions, outboxes };
}

function databasesOf({ databaseUrls, consumerDatabaseUrl }: Deployment): readonly string[] {
  const urls = [...Object.values(databaseUrls), consumerDatabaseUrl];
  return urls.map((url) => decodeURIComponent(new URL(url).pathname.slice(1)));
}

interface Hooks {
  readonly url: string;
  readonly hook: Stage['hook'];
  close(): Promise<void>;
}

async function serveHooks(): Promise<Hooks> {
  const handlers = new Map<string, (request: Request) => Promise<Response>>();
  const fetch = (request: Request): Promise<Response> | Response => {
    const name = new URL(request.url).pathname.slice(1);
    // Not yet there: tried again.
    return handlers.get(name)?.(request) ?? new Response('Nobody listens here yet.', { status: 503 });
  };
  const server = serve({ fetch, hostname: '127.0.0.1', port: 0 }) as Server;
  if (!server.listening) await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hook: (name, handle) => void handlers.set(name, handle),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
