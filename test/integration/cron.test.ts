/** What the cron functions do: alone where no host lives, twice at once, and on every platform's own clock. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { fetchWaiting } from '../../scheduled/fetch.ts';
import { redeliver } from '../../scheduled/redeliver.ts';
import { republish } from '../../scheduled/republish.ts';
import { probeSets } from '../../scheduled/probe-sets.ts';
import type { Job, JobReport } from '../../scheduled/run-job.ts';
import { at, cities, createClient } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { bridgeSettings, deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess, type JobProcess } from '../stack/job-process.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { countRows, query } from '../stack/query.ts';
import { countWaiting } from '../stack/queue.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

const messages = 20;

describe('cron functions where no host lives', () => {
  let receiver: WebhookReceiver;
  let broker: TcpProxy;
  let deployment: Deployment;
  let jobs: JobProcess;
  let ids: readonly string[];

  beforeAll(async () => {
    const stack = useStack();
    receiver = await startWebhookReceiver();
    broker = await startTcpProxy(stack.amqpUrl);
    const change = (seed: SeedInput): SeedInput => ({
      // Their retries are due when the test says so, however long the tests before take.
      ...addListeners(seed, receiver.url, { plain: { retryDelaysMs: [600_000, 600_000] } }),
      sets: seed.sets.map((set) => ({
        ...set,
        brokerUrls: set.brokerUrls.map((url) => broker.through(url)),
      })),
    });
    deployment = await deploy(stack, freshPrefix('cron'), () => undefined, change);
    // A server takes messages while no broker is there, and stops: nobody lives, and nothing was sent.
    broker.become('closed');
    const [, node] = platforms;
    const server = await node?.start(deployment);
    const client = createClient(server?.url ?? '', deployment);
    const publish = (index: number) =>
      client.publish({ topic: 'events', tag: 'plain', body: { index } }, at(cities.berlin));
    const answers = await Promise.all(Array.from({ length: messages }, (_, index) => publish(index)));
    ids = answers.map(({ body }) => body.id);
    if (answers.some(({ body }) => body.state !== 'stored')) throw new Error('A message was not stored.');
    await server?.stop();
    broker.become('open');
    jobs = openJobProcess({ ...deployment.settings, ...directSettings(stack) });
  });
  afterAll(async () => {
    await jobs.close();
    await broker.close();
    await receiver.stop();
  });

  const database = (): string => deployment.databaseUrls['frankfurt'] ?? '';
  const twiceAtOnce = async (job: Job): Promise<number> => {
    const reports: readonly JobReport[] = await jobs.run(job, job);
    expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
    return reports.reduce((sum, { handled }) => sum + handled, 0);
  };
  const callsPerMessage = (): readonly number[] => ids.map((id) => receiver.callsOf(id).length);

  it('republish sends what was never confirmed, once though it runs twice', async () => {
    expect(await countRows([database()], 'message', "state = 'READY'")).toBe(messages);
    expect(await countRows([database()], 'host')).toBe(0);
    await until(20_000, async () => {
      await twiceAtOnce(republish);
      return (await countRows([database()], 'message', "state = 'CONFIRMED'")) === messages;
    });
    expect(await countRows([database()], 'message', 'send_attempts = 1')).toBe(messages);
    const waiting = await countWaiting(deployment.brokerUrls['frankfurt'] ?? '', 'setway.sub.plain');
    expect(waiting).toBe(messages);
    expect(receiver.calls).toHaveLength(0);
    expect(await countRows([database()], 'agenda')).toBe(0);
  });

  it('fetch drains the queues, and messages that fail wait for their retry', async () => {
    const failing = messages - 1;
    receiver.script(
      '/plain',
      Array.from({ length: failing }, () => ({ status: 503 })),
    );
    expect(await twiceAtOnce(fetchWaiting)).toBe(messages);
    expect(callsPerMessage()).toEqual(ids.map(() => 1));
    expect(await countWaiting(deployment.brokerUrls['frankfurt'] ?? '', 'setway.sub.plain')).toBe(0);
    expect(await countRows([database()], 'delivery', "state = 'DONE'")).toBe(messages - failing);
    expect(await countRows([database()], 'delivery', "state = 'RETRY'")).toBe(failing);
    expect(await countRows([database()], 'agenda', "kind = 'redeliver'")).toBe(failing);
  });

  it('redeliver tries again what is due, once though it runs twice', async () => {
    await query(database(), "UPDATE agenda SET due_at = now() WHERE kind = 'redeliver'");
    await until(20_000, async () => {
      await twiceAtOnce(redeliver);
      return (await countRows([database()], 'delivery', "state = 'DONE'")) === messages;
    });
    // One was done at once; every other one was called a second time, and by one run only.
    const [once, ...twice] = callsPerMessage().toSorted((a, b) => a - b);
    expect([once, ...new Set(twice)]).toEqual([1, 2]);
    expect(await countRows([database()], 'agenda')).toBe(0);
    expect(await twiceAtOnce(redeliver)).toBe(0);
  });

  it('fetch leaves a SET alone whose host lives', async () => {
    await query(
      database(),
      "INSERT INTO host (set_id, host, broker) VALUES ('frankfurt', 'other', 'connected')",
    );
    const sets = [...(await jobs.parts.catalog.current()).sets.keys()];
    const lives = await Promise.all(sets.map(async (set) => (await jobs.parts.databases(set)).liveHosts()));
    expect(Object.fromEntries(sets.map((set, index) => [set, lives[index]]))).toMatchObject({
      frankfurt: 1,
      hangzhou: 0,
    });
    const visited: string[] = [];
    const parts = {
      ...jobs.parts,
      visit: async <T>(set: string, _work: unknown): Promise<T> => {
        visited.push(set);
        return 0 as T;
      },
    };
    await fetchWaiting.run(parts);
    expect(visited.toSorted((a, b) => a.localeCompare(b))).toEqual(['center', 'hangzhou', 'virginia']);
  });

  it('probe-sets says what it saw and copies the catalog to a SET that lacks it', async () => {
    await query(database(), 'DELETE FROM catalog');
    const [report] = await jobs.run(probeSets);
    expect(report).toMatchObject({ job: 'probe-sets', handled: 5, failures: [] });
    expect(await query(database(), 'SELECT version::int FROM catalog')).toEqual([{ version: 1 }]);
    const health = await query(database(), 'SELECT set_id, health, detail FROM set_health ORDER BY set_id');
    expect(health).toHaveLength(4);
    expect(new Set(health.map((row) => row['health']))).toEqual(new Set(['up']));
  });
});

describe.each(platforms)('the cron table on $name', (platform) => {
  let deployment: Deployment;
  let server: RunningPlatform;

  beforeAll(async () => {
    deployment = await deploy(useStack(), freshPrefix('crons'), () => undefined);
    server = await platform.start(deployment, bridgeSettings(useStack()));
  });
  afterAll(() => server.stop());

  const database = (): string => deployment.databaseUrls['virginia'] ?? '';
  const partitions = async (): Promise<readonly unknown[]> => {
    const rows = await query(
      database(),
      "SELECT relname FROM pg_class WHERE relname ~ '^message_[0-9]{8}$' ORDER BY relname",
    );
    return rows.map((row) => row['relname']);
  };

  it('the daily cron drops days behind the retention and makes coming ones', async () => {
    const before = await partitions();
    await query(database(), "SELECT make_day('2020-02-29')");
    for (const part of ['message', 'message_body', 'delivery', 'attempt'])
      await query(database(), `DROP TABLE ${String(before.at(-1)).replace(/^message/, part)}`);
    expect(await partitions()).toEqual(['message_20200229', ...before.slice(0, -1)]);
    await Promise.all([server.runCron('17 3 * * *'), server.runCron('17 3 * * *')]);
    expect(await partitions()).toEqual(before);
  });

  it('the minutely cron probes every SET', async () => {
    await query(database(), 'DELETE FROM catalog');
    await server.runCron('* * * * *');
    const health = await query(
      database(),
      "SELECT set_id FROM set_health WHERE health = 'up' ORDER BY set_id",
    );
    expect(health.map((row) => row['set_id'])).toEqual(['center', 'frankfurt', 'hangzhou', 'virginia']);
    expect(await query(database(), 'SELECT version::int FROM catalog')).toEqual([{ version: 1 }]);
  });
});
