/**
 * A consumer of its own: an HTTP server with the webhook handler of `setway/consumer` and the guard in Redis and
 * Postgres, which outlives a host that is killed. Its effect is counted in memory: it stands for a mail, an effect
 * outside every database, of which nothing but the guard keeps a second one away.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import pg from 'pg';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { webhookHandler, type WebhookFault } from '../../shared/consumer/consumer.ts';
import { createFallbackGuard } from '../../shared/idempotency/fallback-guard.ts';
import { createPostgresGuard } from '../../shared/idempotency/postgres-guard.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';

export interface ReceiverOptions {
  readonly port: number;
  readonly secrets: readonly string[];
  readonly subscription: string;
  readonly redisUrl: string;
  readonly databaseUrl: string;
}

export interface Receiver {
  /** How often each message had its effect. */
  readonly effects: ReadonlyMap<string, number>;
  /** What the handler could not tell anybody: done markers not written, for instance. */
  readonly faults: readonly WebhookFault[];
  stop(): Promise<void>;
}

export async function startReceiver(options: ReceiverOptions): Promise<Receiver> {
  const requester = upstashRequester(options.redisUrl);
  const pool = new pg.Pool({ connectionString: options.databaseUrl, max: 8, connectionTimeoutMillis: 2_000 });
  pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}));
  const effects = new Map<string, number>();
  const faults: WebhookFault[] = [];
  const guard = createFallbackGuard({
    redis: createRedisGuard(connectRedis({ requester })),
    database: createPostgresGuard((text, params) => pool.query(text, [...params])),
  });
  const { secrets, subscription } = options;
  const onFault = (fault: WebhookFault): void => void faults.push(fault);
  const handle = webhookHandler({ secrets, subscription, guard, onFault }, async ({ id }) => {
    effects.set(id, (effects.get(id) ?? 0) + 1);
  });
  const server = createServer((incoming, response) => void answer(incoming, response, handle));
  await new Promise<void>((resolve) => server.listen(options.port, '127.0.0.1', resolve));
  return {
    effects,
    faults,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await Promise.all([pool.end(), requester.close()]);
    },
  };
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  handle: (request: Request) => Promise<Response>,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const url = new URL(incoming.url ?? '/', 'http://receiver.invalid');
  const response = await handle(new Request(url, { method: 'POST', headers, body: Buffer.concat(chunks) }));
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(await response.text());
}
