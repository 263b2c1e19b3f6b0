/**
 * Setway in one Node process: the same app, crons and SET hosts, the drivers in-process.
 *
 * `SIGTERM` stops it gracefully: no new requests, requests under way answered, crons and consumer loops ended, confirms
 * flushed, channels closed, then connections. A second signal ends it at once; what is lost then is repaired by the
 * agenda of whoever runs next.
 */
import { serve, type ServerType } from '@hono/node-server';
import { systemClock } from '../../shared/clock.ts';
import { asProblem } from '../../shared/problem.ts';
import { readSettings, type Settings } from '../../shared/settings.ts';
import { createApp } from '../app.ts';
import { createJobParts, createServices, createWorld, webhookPolicy } from '../assemble.ts';
import { createCourier } from '../courier.ts';
import { webhookFunctions } from '../webhooks/functions.ts';
import { startCron } from './cron.ts';
import { openDrivers } from './drivers.ts';
import { createHostPool } from './host-pool.ts';
import { createWebhookAgent } from './webhook-request.ts';

export interface NodeServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** One structured line. */
export type Log = (entry: object) => void;

/** How long the start waits for brokers, so that the first messages are sent at once. */
const firstConnectionMs = 4_000;
/** How often the process looks whether the catalog has SETs it should host. */
const refreshMs = 5_000;

/**
 * @throws Problem `invalid-settings`, `set-unavailable` when no catalog can be read
 * @example const server = await startServer(readSettings(process.env), console.log); await server.stop();
 */
export async function startServer(settings: Settings, log: Log): Promise<NodeServer> {
  const drivers = openDrivers(settings);
  const world = createWorld(settings, { redis: drivers.redis, inBackground: (work) => void work, log });
  const agent = createWebhookAgent({ clock: systemClock }, { policy: webhookPolicy(settings) });
  const functions = webhookFunctions({ ...world, databaseUrl: settings.SETWAY_WEBHOOK_DATABASE });
  const courier = createCourier({
    functions,
    post: agent.post,
    policy: webhookPolicy(settings),
    deliveryIds: world.deliveryIds,
    clock: systemClock,
    sliceSize: 1,
  });
  const pool = createHostPool(world, courier);
  await pool.refresh();
  await pool.ready(firstConnectionMs);
  const app = createApp(
    createServices(world, (set) => pool.link(set)),
    log,
  );
  const server = await listen(settings, app.fetch);
  const jobs = createJobParts(world, (set, work) => pool.visit(set, work));
  const cron = settings.SETWAY_CRON === 'on' ? startCron(jobs, log) : undefined;
  const refreshing = setInterval(() => void pool.refresh().catch(() => undefined), refreshMs);
  return {
    url: server.url,
    async stop() {
      clearInterval(refreshing);
      await server.close();
      // A host that stops ends what a cron function does with it.
      await Promise.all([cron?.stop(), pool.stop()]);
      // Hosts have waited for their calls as long as they may: what hangs still ends with the process, and comes again.
      void agent.close();
      await drivers.close();
    },
  };
}

/** Above the app's own limit, so that the app answers 431 with a problem. */
const maxHeaderBytes = 65_536;
/** A request that takes longer to arrive is closed with 408. */
const requestTimeoutMs = 30_000;

interface Listening {
  readonly url: string;
  /** Refuses new connections and resolves when the requests under way are answered. */
  close(): Promise<void>;
}

async function listen(settings: Settings, fetch: Parameters<typeof serve>[0]['fetch']): Promise<Listening> {
  const serverOptions = { maxHeaderSize: maxHeaderBytes, requestTimeout: requestTimeoutMs };
  const options = { fetch, hostname: settings.SETWAY_HOST, port: settings.SETWAY_PORT, serverOptions };
  const [server, port] = await new Promise<[ServerType, number]>((resolve, reject) => {
    const started: ServerType = serve(options, (info) => resolve([started, info.port]));
    started.once('error', reject);
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      if ('closeIdleConnections' in server) server.closeIdleConnections();
    });
  return { url: `http://${settings.SETWAY_HOST}:${port}`, close };
}

async function main(): Promise<void> {
  const print = (text: string): void => void process.stdout.write(`${text}\n`);
  const server = await startServer(readSettings(process.env), (entry) => print(JSON.stringify(entry)));
  print(`Setway listens at ${server.url}`);
  let isStopping = false;
  const stop = (): void => {
    if (isStopping) process.exit(1);
    isStopping = true;
    print('Stopping: finishing what is under way (once more ends it at once)');
    void server.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${asProblem(error).message}\n`);
    process.exit(1);
  });
}
