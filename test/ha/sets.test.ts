/**
 * A whole SET goes, two SETs do not reach each other, or one is retired, while orders and lanes keep coming to both: new
 * messages go on through the sibling, nothing that was answered with 202 is lost, lanes keep their order, effects happen
 * once. The figures are printed.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { effectsOnce, type Scene } from '../chaos/storm.ts';
import { directSettings } from '../stack/deployment.ts';
import { haSets, type HaSetName, type HaStack } from '../stack/ha-stack.ts';
import { findPacketFilter } from '../stack/packages.ts';
import { wallOff } from '../stack/partition.ts';
import { repoDir } from '../stack/ports.ts';
import { isRunning, processTree } from '../stack/process-tree.ts';
import { query } from '../stack/query.ts';
import { createSetProcess, type SetProcess } from '../stack/set-process.ts';
import { setway } from '../stack/setway.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import {
  openHaScene,
  startDeadlineMs,
  startTestHaStack,
  syncQueueNames,
  tellFigures,
  testDeadlineMs,
  weatherHa,
  type Weathered,
} from './ha-scene.ts';
import { openLanes, type Lanes, type LanesUnderWay } from './lanes.ts';
import { answersAmqp } from './strikes.ts';

/** What the README promises for a SET that goes. */
const promisedPauseMs = 10_000;
const heardDeadlineMs = 120_000;
/** How long two SETs do not reach each other: several heartbeats, and the time after which a SET counts as dead. */
const apartMs = 20_000;

const nft = await findPacketFilter(process.env, (line) => console.info(line));
const stranger = { uid: 65_534, gid: 65_534 };
const mayStrangerRead = spawnSync('test', ['-r', path.join(repoDir, 'package.json')], stranger).status === 0;
const canWallOff = nft !== undefined && mayStrangerRead;
if (!canWallOff) console.info('no partition of SETs: it needs root, nft, and a folder that others may read');

let stack: HaStack;
let scene: Scene;
let lanes: Lanes;
let edges: Readonly<Record<HaSetName, SetProcess>>;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  stack = await startTestHaStack('loopback');
}, startDeadlineMs);
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});
afterAll(() => stack.stop());

interface Opening {
  readonly change?: (seed: SeedInput) => SeedInput;
  /** How a process reaches the copies of the catalog. */
  readonly databaseOf?: (id: string, url: string) => string;
  /** Whom Frankfurt's process runs as. */
  readonly frankfurtAs?: typeof stranger;
}

const times = {
  SETWAY_HEARTBEAT_SECONDS: '1',
  SETWAY_HEARTBEAT_EXPIRY_SECONDS: '5',
  SETWAY_CATALOG_MAX_AGE_MS: '500',
};

/** A process per SET, as each region has its own. */
async function open({
  change = (seed) => seed,
  databaseOf = (_id, url) => url,
  frankfurtAs,
}: Opening = {}): Promise<void> {
  lanes = await openLanes();
  stops.push(() => lanes.stop());
  scene = await openHaScene(stack, (seed) => change(withPing(lanes.change(seed))));
  stops.push(() => scene.stop());
  const copies = Object.entries(scene.deployment.databaseUrls).map(([id, url]) => databaseOf(id, url));
  const settings = { ...times, SETWAY_CATALOG_DATABASES: copies.join(',') };
  const processOf = (id: HaSetName, user?: typeof stranger): SetProcess =>
    createSetProcess(stack, { id, deployment: scene, settings, user });
  edges = { hangzhou: processOf('hangzhou'), frankfurt: processOf('frankfurt', frankfurtAs) };
  stops.push(async () => void (await Promise.all(Object.values(edges).map((edge) => edge.stop()))));
  await Promise.all(Object.values(edges).map((edge) => edge.start()));
  await syncQueueNames(stack);
}

/** Orders and lanes through both edges; the client goes to the other one when one does not answer. */
async function survive(what: string, strike: (lanes: LanesUnderWay) => Promise<void>): Promise<Weathered> {
  const urls = haSets.map((id) => edges[id].url);
  const underWay = lanes.publish({ urls, apiKey: scene.deployment.apiKey });
  const result = await weatherHa(scene, {
    urls,
    strike: async () => {
      await strike(underWay);
      await underWay.finish();
    },
  });
  tellFigures(what, result);
  await underWay.heard(heardDeadlineMs);
  expect(underWay.outOfOrder()).toEqual([]);
  expect(Math.min(...underWay.accepted.values())).toBeGreaterThan(0);
  expect(result.books).toMatchObject(effectsOnce);
  return result;
}

/** Its nodes and its host at once. */
async function killHangzhou(): Promise<void> {
  const { cluster } = stack.sets.hangzhou;
  const trees = [...cluster.nodes, edges.hangzhou].map(({ pid }) => processTree(pid ?? 0));
  expect(trees.map((tree) => tree.length > 0)).toEqual([true, true, true, true]);
  await Promise.all([cluster.kill(), edges.hangzhou.kill()]);
  expect(trees.flat().filter(isRunning)).toEqual([]);
  expect(await Promise.all(cluster.nodes.map(answersAmqp))).toEqual([false, false, false]);
}

/** The command line, as the operator calls it. */
async function operate(...args: readonly string[]): Promise<void> {
  const settings = { ...scene.settings, ...directSettings(stack.base.addresses) };
  const { exitCode, stdout, stderr } = await setway({ settings }, ...args);
  console.info(`$ setway ${args.join(' ')}\n${stdout}${stderr}`);
  expect(exitCode, stderr).toBe(0);
}

async function publishAt(id: HaSetName): Promise<string> {
  const response = await fetch(`${edges[id].url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${scene.deployment.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ topic: 'ping', route: { set: id, fallback: 'only' }, body: {} }),
  });
  return `${response.status} ${((await response.json()) as { readonly set?: string }).set ?? ''}`;
}

/** A topic that nobody listens to: it is not in the books. */
function withPing(seed: SeedInput): SeedInput {
  return { ...seed, topics: [...(seed.topics ?? []), { name: 'ping', owner: 'demo' }] };
}

describe('while orders and lanes keep coming', () => {
  test(
    'a whole SET is killed, its nodes and its host: 202s go on through the sibling, and it comes back',
    async () => {
      await open();
      const { longestPauseMs } = await survive('kill -9 of a whole SET', async () => {
        await killHangzhou();
        await stack.sets.hangzhou.cluster.start();
        await edges.hangzhou.start();
        await until(30_000, async () => (await publishAt('hangzhou')) === '202 hangzhou');
      });
      expect(longestPauseMs).toBeLessThan(promisedPauseMs);
    },
    testDeadlineMs,
  );

  test(
    'a whole SET is killed and taken over: its lanes go on at the sibling meanwhile, and it comes back',
    async () => {
      await open();
      const { longestPauseMs } = await survive('kill -9 of a whole SET, taken over', async ({ accepted }) => {
        await killHangzhou();
        await operate('sets', 'take-over', 'hangzhou');
        const before = new Map(accepted);
        await until(60_000, () => [...accepted].every(([lane, step]) => step > (before.get(lane) ?? 0) + 1));
        await stack.sets.hangzhou.cluster.start();
        await edges.hangzhou.start();
        await operate('sets', 'activate', 'hangzhou');
        await until(30_000, async () => (await publishAt('hangzhou')) === '202 hangzhou');
      });
      expect(longestPauseMs).toBeLessThan(promisedPauseMs);
    },
    testDeadlineMs,
  );

  test.skipIf(!canWallOff)(
    'two SETs do not reach each other: both go on, and afterwards no lane has two homes',
    async () => {
      const proxies: Record<string, TcpProxy> = {};
      for (const id of haSets) {
        const proxy = await startTcpProxy(stack.base.addresses.postgresUrl);
        stops.push(() => proxy.close());
        proxies[id] = proxy;
      }
      const through = (id: string, url: string): string => proxies[id]?.through(url) ?? url;
      await open({
        change: (seed) => ({
          ...seed,
          sets: seed.sets.map((set) => ({
            ...set,
            databaseUrls: set.databaseUrls.map((url) => through(set.id, url)),
          })),
        }),
        databaseOf: through,
        frankfurtAs: stranger,
      });
      await survive('two SETs apart for 20 s', async () => {
        const cut = await wallOff(nft ?? '', `sets_${stack.base.ports.amqp}`, [
          { uid: stranger.uid, port: proxies['hangzhou']?.port ?? 0 },
          { uid: process.getuid?.() ?? 0, port: proxies['frankfurt']?.port ?? 0 },
        ]);
        stops.push(() => cut.heal());
        const endMs = performance.now() + apartMs;
        await until(apartMs, async () => (await cut.droppedPackets()) > 0);
        await until(apartMs * 2, async () => {
          expect(await Promise.all(haSets.map(publishAt))).toEqual(['202 hangzhou', '202 frankfurt']);
          return performance.now() > endMs;
        });
        await cut.heal();
      });
      const homes = await Promise.all(
        Object.values(scene.deployment.databaseUrls).map((url) =>
          query(url, 'SELECT DISTINCT lane FROM lane_entry'),
        ),
      );
      const all = homes.flat().map(({ lane }) => lane);
      expect(all.length).toBeGreaterThan(0);
      expect(new Set(all).size).toBe(all.length);
    },
    testDeadlineMs,
  );

  test(
    'a SET is retired: its keys move, it drains, and nothing is lost',
    async () => {
      await open();
      await survive('a SET is retired', async () => {
        await operate(
          'routes',
          'move',
          '--from',
          '8192',
          '--to',
          '16383',
          '--set',
          'hangzhou',
          '--wait',
          '2m',
        );
        await operate('sets', 'drain', 'frankfurt', '--wait', '120');
        await operate('sets', 'retire', 'frankfurt');
        expect(await publishAt('frankfurt')).toMatch(/^(?!202)/);
      });
    },
    testDeadlineMs,
  );
});
