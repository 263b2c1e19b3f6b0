/**
 * A whole SET lost under traffic: its host killed, or asleep, or its database away. Siblings go on, take over what it had
 * not delivered, in order, and nothing has its effect twice; then it comes back.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { takeOverDead } from '../../scheduled/take-over.ts';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { at, cities, createClient, type Published } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess } from '../stack/job-process.ts';
import { addListeners } from '../stack/listeners.ts';
import { repoDir } from '../stack/ports.ts';
import { signal } from '../stack/process-tree.ts';
import { countWaiting } from '../stack/queue.ts';
import { query } from '../stack/query.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';
import { startNodeHost, type NodeHost } from './node-host.ts';
import { longestGap, publishOrders, type Orders } from './orders.ts';

const lost = 'hangzhou';
const stockSlots = 4;
/** Longer than filling the slots takes, so that none is free again before the host sleeps. */
const timeoutMs = 8_000;
let receiver: WebhookReceiver;
let database: TcpProxy;
let deployment: Deployment;
let settings: Readonly<Record<string, string>>;
/** Edge and hosts of all other SETs. */
let others: NodeHost;
/** Edge and host of the one that is lost. */
let host: NodeHost;

beforeAll(async () => {
  const stack = useStack();
  receiver = await startWebhookReceiver();
  database = await startTcpProxy(stack.postgresUrl);
  const change = (seed: SeedInput): SeedInput => {
    const listening = addListeners(seed, receiver.url, {
      ledger: { topic: 'kept', bindings: ['#'] },
      stock: { bindings: ['#'], concurrency: stockSlots },
    });
    return {
      ...listening,
      topics: [...(listening.topics ?? []), { name: 'kept', owner: 'demo', durability: 'mirrored' }],
      // All lanes begin at the SET that is lost.
      buckets: [{ from: 0, to: 16_383, set: lost }],
      subscriptions: listening.subscriptions?.map((each) => ({ ...each, timeoutMs })),
      sets: listening.sets.map((set) =>
        set.id === lost
          ? {
              ...set,
              takeOver: 'automatic' as const,
              databaseUrls: set.databaseUrls.map((url) => database.through(url)),
            }
          : set,
      ),
    };
  };
  deployment = await deploy(stack, freshPrefix('takeover'), () => undefined, change);
  settings = {
    ...deployment.settings,
    ...directSettings(stack),
    SETWAY_PORT: '0',
    SETWAY_CRON: 'off',
    SETWAY_CATALOG_MAX_AGE_MS: '200',
    SETWAY_HEARTBEAT_SECONDS: '1',
    SETWAY_HEARTBEAT_EXPIRY_SECONDS: '3',
  };
  others = await startNodeHost({ ...settings, SETWAY_HOSTED_SETS: 'center,frankfurt,virginia' });
  host = await startNodeHost({ ...settings, SETWAY_HOSTED_SETS: lost });
}, 60_000);
afterAll(async () => {
  await Promise.all([host.stop(), others.stop()]);
  await receiver.stop();
  await database.close();
});

async function setway(...args: readonly string[]): Promise<string> {
  const main = path.join(repoDir, 'functions/cli/main.ts');
  const env = { ...process.env, ...settings };
  const { stdout } = await promisify(execFile)(process.execPath, [main, 'sets', ...args], { env });
  return stdout;
}

interface Sent {
  readonly id: string;
  readonly lane: string;
}

async function publish(edge: NodeHost, message: Readonly<Record<string, unknown>>) {
  return createClient(edge.url, deployment).publish<Published>(
    { topic: 'events', ...message },
    at(cities.shanghai),
  );
}

async function accepted(edge: NodeHost, message: Readonly<Record<string, unknown>>): Promise<string> {
  const { status, body } = await publish(edge, message);
  if (status !== 202) throw new Error(`Not taken: ${JSON.stringify(body)}`);
  return body.id;
}

/** Plain messages, and as many of each of a few lanes, one after the other within a lane. */
async function traffic(edge: NodeHost, amount: number, topic = 'events'): Promise<readonly Sent[]> {
  const names = ['', 'user-1', 'user-2', 'user-3'];
  const sent = await Promise.all(
    names.map(async (name) => {
      const lane = name && `${name}-${topic}`;
      const ids: Sent[] = [];
      for (let n = 0; n < amount; n++)
        ids.push({ lane, id: await accepted(edge, { topic, body: { n }, ...(lane ? { lane } : {}) }) });
      return ids;
    }),
  );
  return sent.flat();
}

/** Plain messages all the time; the client goes to the other edge when one does not answer. */
function keepPublishing(edges: readonly NodeHost[]): Orders {
  const urls = edges.map(({ url }) => url);
  const { apiKey } = deployment;
  return publishOrders({ urls, apiKey, total: Number.MAX_SAFE_INTEGER, concurrency: 2, restMs: 50 });
}

const brokerUrl = (): string => deployment.brokerUrls[lost] ?? '';

/** What a guarded webhook makes of its calls: the first of each id, in order. */
const effects = (): readonly string[] => [
  ...new Set(receiver.calls.map(({ headers }) => String(headers['webhook-id']))),
];

async function allHeard(sent: readonly Sent[], deadlineMs = 60_000): Promise<void> {
  await until(deadlineMs, () => {
    const heard = new Set(effects());
    return sent.every(({ id }) => heard.has(id));
  });
  const places = new Map(effects().map((id, place) => [id, place]));
  for (const [lane, messages] of Map.groupBy(sent, ({ lane: name }) => name)) {
    if (!lane) continue;
    const order = messages.map(({ id }) => places.get(id) ?? -1);
    expect(order, `the order of ${lane}`).toEqual(order.toSorted((a, b) => a - b));
  }
}

describe('a SET that is lost', () => {
  test('killed under traffic: the others go on at once, and with its lanes after the take-over', async () => {
    receiver.holdAnswers('/stock', 100);
    const url = deployment.databaseUrls[lost] ?? '';
    const before = await traffic(host, 25);
    const steady = keepPublishing([host, others]);
    await steady.reached(20);
    await host.kill();
    await steady.reached(steady.acceptedAtMs.length + 20);
    expect((await query(url, 'SELECT FROM agenda')).length, 'killed in the middle').toBeGreaterThan(0);
    const plain = await accepted(others, { body: {} });
    expect((await publish(others, { body: {}, lane: 'user-1-events' })).status).toBe(503);
    expect(await setway('take-over', lost)).toContain('messages were taken over');
    // Edges know it when they have read the catalog again.
    await until(15_000, async () => (await publish(others, { body: {}, lane: 'first' })).status === 202);
    const after = await traffic(others, 3);
    await steady.finish();
    const longestMs = longestGap(steady.acceptedAtMs);
    console.info(
      `figures: a SET killed and taken over: longest time without a 202: ${longestMs.toFixed(0)} ms`,
    );
    expect(longestMs).toBeLessThan(10_000);
    receiver.holdAnswers('/stock', 0);
    await allHeard([...before, { id: plain, lane: '' }, ...after]);
    // Nothing is left behind.
    expect(await query(url, 'SELECT FROM departure WHERE left_at IS NULL')).toEqual([]);
    expect(await query(url, 'SELECT FROM agenda')).toEqual([]);
  }, 120_000);

  test('comes back: what its queues still hold has no second effect, and it takes traffic again', async () => {
    const told = receiver.calls.length;
    const before = new Set(effects());
    host = await startNodeHost({ ...settings, SETWAY_HOSTED_SETS: lost });
    expect(await setway('activate', lost, '--take-back')).toContain('has buckets 0 to 5460 again');
    await until(15_000, async () => (await publish(host, { body: {} })).body.set === lost);
    const queues = ['setway.sub.stock', 'setway.sub.ledger'];
    await until(15_000, async () => {
      const waiting = await Promise.all(queues.map((queue) => countWaiting(brokerUrl(), queue)));
      return waiting.every((amount) => amount === 0);
    });
    const again = receiver.calls.slice(told).map(({ headers }) => String(headers['webhook-id']));
    expect(again.filter((id) => before.has(id))).toEqual([]);
    await allHeard(await traffic(host, 3));
  }, 60_000);

  test('asleep: the others take over by themselves, and it calls nobody when it wakes', async () => {
    const jobs = openJobProcess(settings);
    const takenOver = async () => (await jobs.run(takeOverDead))[0]?.handled;
    expect(await takenOver(), 'while its host beats').toBe(0);
    const { promise: awake, resolve: wake } = Promise.withResolvers<void>();
    const held = receiver.calls.length;
    const answerLate = async () => awake.then(() => ({ status: 200 }));
    receiver.script(
      '/stock',
      Array.from({ length: 400 }, () => answerLate),
    );
    const before = await traffic(host, 10);
    // All its slots are taken by calls that have arrived, and more waits in its hands: nothing is on the wire.
    await receiver.waitFor((calls) => calls.length >= held + stockSlots, 5_000);
    signal(host.pid, 'SIGSTOP');
    expect(receiver.calls.length, 'no slot was free before it slept').toBe(held + stockSlots);
    receiver.script('/stock', []);
    wake();
    await until(15_000, async () => (await takenOver()) === 1);
    await jobs.close();
    const told = receiver.calls.length;
    const url = deployment.databaseUrls[lost] ?? '';
    const beats = async () => query(url, 'SELECT max(beat_at)::text AS at FROM host');
    const last = await beats();
    // Its leases are not over, and its broker has not given it up.
    signal(host.pid, 'SIGCONT');
    await until(15_000, async () => (await beats())[0]?.['at'] !== last[0]?.['at']);
    await until(15_000, async () => (await publish(host, { body: {} })).body.set !== lost);
    await allHeard(before);
    const late = receiver.calls.slice(told).filter(({ headers }) => headers['setway-set'] === lost);
    expect(late).toEqual([]);
    await setway('activate', lost, '--take-back');
  }, 120_000);
});

describe('a SET whose database is lost', () => {
  test('what others keep copies of goes on; the rest waits, for all to see, until the database is back', async () => {
    receiver.script(
      '/stock',
      Array.from({ length: 400 }, () => ({ status: 503 })),
    );
    receiver.script(
      '/ledger',
      Array.from({ length: 400 }, () => ({ status: 503 })),
    );
    await until(15_000, async () => (await publish(host, { body: {} })).body.set === lost);
    const kept = await traffic(host, 5, 'kept').catch(() => []);
    const plain = await accepted(host, { body: { n: 'left behind' } });
    database.become('closed');
    await host.kill();
    receiver.script('/stock', []);
    receiver.script('/ledger', []);
    const said = await setway('take-over', lost);
    expect(said).toContain('does not answer: what it holds waits there');
    await allHeard(kept.filter(({ lane }) => lane === ''));
    const metrics = await fetch(`${others.url}/metrics`, {
      headers: { authorization: `Bearer ${deployment.apiKey}` },
    });
    expect(await metrics.text()).toContain(`# SET ${lost}`);
    await expect(setway('activate', lost)).rejects.toThrow('stays fenced');
    database.become('open');
    await expect(setway('activate', lost)).rejects.toThrow('setway sets take-over hangzhou');
    await setway('take-over', lost);
    await allHeard([...kept, { id: plain, lane: '' }]);
    expect(await setway('activate', lost)).toContain(`${lost}: active`);
  }, 120_000);

  test('its lanes go on without what is left behind, once an operator says so', async () => {
    host = await startNodeHost({ ...settings, SETWAY_HOSTED_SETS: lost });
    await setway('activate', lost, '--take-back');
    const inLane = async (edge: NodeHost) => publish(edge, { body: {}, lane: 'user-9' });
    const laneTakenBy = async (edge: NodeHost): Promise<Published> =>
      until(15_000, async () => {
        const { status, body } = await inLane(edge);
        return status === 202 && body;
      });
    receiver.script(
      '/stock',
      Array.from({ length: 400 }, () => ({ status: 503 })),
    );
    const behind = await laneTakenBy(host);
    expect(behind.set).toBe(lost);
    database.become('closed');
    await host.kill();
    receiver.script('/stock', []);
    await setway('take-over', lost);
    expect((await inLane(others)).status).toBe(503);
    expect(await setway('take-over', lost, '--lanes', 'open')).toContain('whatever its database still holds');
    const after = await laneTakenBy(others);
    await allHeard([{ id: after.id, lane: '' }]);
    expect(effects()).not.toContain(behind.id);
    database.become('open');
    await setway('take-over', lost);
    await allHeard([{ id: behind.id, lane: '' }]);
    expect(await setway('activate', lost)).toContain(`${lost}: active`);
  }, 120_000);
});
