/**
 * The host killed with SIGKILL in the middle of 5,000 accepted messages, on Node and on workerd: after its restart every
 * message that was answered with 202 has its effect exactly once, on both consumer groups. `inventory` is a function of
 * the host and dies with it, in its transaction; `receipt` is a consumer of its own that survives, behind the guard.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startPrivateStack } from '../stack/current-stack.ts';
import { bridgeSettings, directSettings } from '../stack/deployment.ts';
import type { Stack } from '../stack/stack.ts';
import { isRunning, processTree } from '../stack/process-tree.ts';
import { startWorker, type RunningWorker } from '../stack/worker.ts';
import { startNodeHost, type NodeHost } from './node-host.ts';
import { exactlyOnce, setScene, weather, type Scene } from './storm.ts';

let stack: Stack;
let scene: Scene;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  stack = await startPrivateStack();
});
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});
afterAll(async () => {
  await stack.stop();
});

const testTimeoutMs = 300_000;

describe('in the middle of 5,000 accepted messages', () => {
  test(
    'a Node process is killed: its successor sends, delivers and records the rest',
    async () => {
      scene = await setScene(stack);
      stops.push(() => scene.stop());
      const start = async (): Promise<NodeHost> => {
        const port = String(stack.ports.node);
        const started = await startNodeHost({
          ...scene.settings,
          ...directSettings(stack.addresses),
          SETWAY_PORT: port,
        });
        stops.push(() => started.stop());
        return started;
      };
      const host = await start();
      const books = await weather(scene, {
        url: host.url,
        strike: async (midFlight) => {
          await host.kill();
          await midFlight();
          await start();
        },
      });
      expect(books).toMatchObject(exactlyOnce);
    },
    testTimeoutMs,
  );

  test(
    'workerd is killed: its Durable Objects come back with the next request',
    async () => {
      scene = await setScene(stack);
      stops.push(() => scene.stop());
      const start = async (): Promise<RunningWorker> => {
        const started = await startWorker({
          port: stack.ports.edge,
          settings: { ...scene.settings, ...bridgeSettings(stack.addresses) },
        });
        stops.push(() => started.stop());
        return started;
      };
      const worker = await start();
      const books = await weather(scene, {
        url: worker.url,
        strike: async (midFlight) => {
          const before = processTree(process.pid);
          worker.kill();
          await worker.stop();
          expect(before.filter((entry) => !isRunning(entry)).length).toBeGreaterThan(0);
          await midFlight();
          await start();
        },
      });
      expect(books).toMatchObject(exactlyOnce);
    },
    testTimeoutMs,
  );
});
