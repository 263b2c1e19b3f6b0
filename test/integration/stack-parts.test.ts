import { neon, neonConfig } from '@neondatabase/serverless';
import { Redis } from '@upstash/redis';
import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createNeonBridge, type NeonBridge } from '../../functions/node/neon-bridge.ts';
import { upstashRequester, type UpstashRequester } from '../../functions/node/upstash-bridge.ts';
import { startPrivateStack } from '../stack/current-stack.ts';
import { checkPostgres } from '../stack/postgres.ts';
import { checkRabbitmq } from '../stack/rabbitmq.ts';
import { checkRedis } from '../stack/redis.ts';
import type { Stack } from '../stack/stack.ts';

let stack: Stack;
let neonBridge: NeonBridge;
let requester: UpstashRequester;

beforeAll(async () => {
  stack = await startPrivateStack();
  neonBridge = createNeonBridge();
  neonConfig.fetchFunction = neonBridge.fetch;
  requester = upstashRequester(stack.redisUrl);
});
afterAll(async () => {
  await neonBridge.close();
  await requester.close();
  await stack.stop();
});

test('Postgres keeps its data through kill -9, and the bridges work again without a restart', async () => {
  await stack.createDatabase('survivor');
  const sql = neon(stack.postgresUrl('survivor'));
  await sql`CREATE TABLE kept AS SELECT 7 AS value`;
  const cut = sql`SELECT pg_sleep(60)`.catch((error: unknown) => error);
  await stack.parts.postgres.kill();
  await expect(checkPostgres(stack.postgresUrl('survivor'))).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
  expect(await cut).toMatchObject({ sourceError: { kind: 'database-unavailable' } });
  await expect(sql`SELECT 1`).rejects.toMatchObject({ sourceError: { kind: 'database-unavailable' } });
  const overHttp = await fetch(stack.bridges.neonEndpoint, {
    method: 'POST',
    headers: { 'Neon-Connection-String': stack.postgresUrl('survivor') },
    body: JSON.stringify({ query: 'SELECT 1', params: [] }),
  });
  expect(overHttp.status).toBe(503);
  expect(await overHttp.text()).toMatch(/Postgres does not answer/);
  await stack.parts.postgres.start();
  expect(await sql`SELECT value FROM kept`).toEqual([{ value: 7 }]);
});

test('a paused Postgres is given up when the caller aborts, and answers again when resumed', async () => {
  const sql = neon(stack.postgresUrl('postgres'));
  await sql`SELECT 1`;
  stack.parts.postgres.pause();
  const reason = new Error('too slow');
  const gate = new AbortController();
  const waiting = sql.query('SELECT 1', [], { fetchOptions: { signal: gate.signal } });
  queueMicrotask(() => gate.abort(reason));
  await expect(waiting).rejects.toMatchObject({ sourceError: reason });
  stack.parts.postgres.resume();
  expect(await sql`SELECT 1 AS one`).toEqual([{ one: 1 }]);
});

test('Redis keeps its keys through kill -9, and the bridges work again without a restart', async () => {
  const redis = new Redis(requester);
  const overHttp = new Redis({ ...stack.bridges.upstash, retry: false });
  await redis.set('kept', 'yes');
  await stack.parts.redis.kill();
  await expect(checkRedis(stack.redisUrl)).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
  await expect(redis.get('kept')).rejects.toMatchObject({ kind: 'redis-unavailable' });
  await expect(redis.multi().get('kept').exec()).rejects.toMatchObject({ kind: 'redis-unavailable' });
  await expect(overHttp.get('kept')).rejects.toThrow(/Redis does not answer/);
  await stack.parts.redis.start();
  await expect.poll(() => redis.get('kept').catch(() => 'away'), { timeout: 20_000 }).toBe('yes');
  await expect.poll(() => overHttp.get('kept').catch(() => 'away'), { timeout: 20_000 }).toBe('yes');
});

test('RabbitMQ keeps confirmed messages through kill -9', async () => {
  await stack.createVhost('survivor');
  const before = await connect(stack.amqpUrl('survivor'));
  before.on('error', () => {});
  const sending = await before.createConfirmChannel();
  sending.on('error', () => {});
  await sending.assertQueue('kept', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  sending.sendToQueue('kept', Buffer.from('hello'), { persistent: true });
  await sending.waitForConfirms();
  await stack.parts.rabbitmq.syncQueueNames();
  const lost = new Promise((resolve) => before.once('close', resolve));
  await stack.parts.rabbitmq.kill();
  await lost;
  // A port may be open for a moment longer than the process lives; then it is the management API that does not answer.
  await expect(checkRabbitmq(stack.managementUrl, stack.amqpUrl('survivor'))).rejects.toThrow(
    /ECONNREFUSED|ECONNRESET|fetch failed/,
  );
  await stack.parts.rabbitmq.start();
  const after = await connect(stack.amqpUrl('survivor'));
  const reading = await after.createChannel();
  const message = await reading.get('kept', { noAck: true });
  expect(message && message.content.toString()).toBe('hello');
  await reading.close();
  await after.close();
});
