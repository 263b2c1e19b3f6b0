/**
 * RabbitMQ, Redis and Postgres, each killed with SIGKILL in the middle of 5,000 accepted messages: every message that
 * was answered with 202 has its effect exactly once, on both consumer groups.
 *
 * The receipts have their effect outside Postgres: a row whose commit nobody heard of would be counted twice, and no guard
 * but `once`, in the same transaction, could help that.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startPrivateStack } from '../stack/current-stack.ts';
import { directSettings } from '../stack/deployment.ts';
import type { Stack } from '../stack/stack.ts';
import { killPart } from './kill.ts';
import { startNodeHost, type NodeHost } from './node-host.ts';
import type { Books } from './books.ts';
import { exactlyOnce, setScene, weather, type Scene, type Storm } from './storm.ts';

let stack: Stack;
let scene: Scene;
let host: NodeHost;

beforeAll(async () => {
  stack = await startPrivateStack();
});
afterEach(async () => {
  await host.stop();
  await scene.stop();
});
afterAll(async () => {
  await stack.stop();
});

async function survive(strike: Storm['strike']): Promise<Books> {
  scene = await setScene(stack);
  host = await startNodeHost({ ...scene.settings, ...directSettings(stack.addresses), SETWAY_PORT: '0' });
  await stack.parts.rabbitmq.syncQueueNames();
  return weather(scene, { url: host.url, strike });
}

const testTimeoutMs = 300_000;

describe('in the middle of 5,000 accepted messages', () => {
  test(
    'RabbitMQ is killed: what it had confirmed is still there, what it had not is sent again',
    async () => {
      const books = await survive(async (midFlight) => {
        await killPart(stack, 'rabbitmq');
        await midFlight();
        await stack.parts.rabbitmq.start();
      });
      expect(books).toMatchObject(exactlyOnce);
    },
    testTimeoutMs,
  );

  test(
    'Redis is killed: keys and guards go on in the databases',
    async () => {
      const books = await survive(async (midFlight) => {
        await killPart(stack, 'redis');
        await midFlight();
        await stack.parts.redis.start();
      });
      expect(books).toMatchObject(exactlyOnce);
    },
    testTimeoutMs,
  );

  test(
    'Postgres is killed: publishes wait for it, and nothing that was answered is gone',
    async () => {
      const books = await survive(async (midFlight) => {
        await midFlight();
        await killPart(stack, 'postgres');
        await stack.parts.postgres.start();
      });
      expect(books).toMatchObject(exactlyOnce);
    },
    testTimeoutMs,
  );
});
