/**
 * Two crons at once where no host lives: ordered messages are delivered once and in order, a producer is asked once per
 * due time, and its transaction is decided once.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleSequences } from '../../scheduled/assemble-sequences.ts';
import { checkTransactions } from '../../scheduled/check-transactions.ts';
import { fetchWaiting } from '../../scheduled/fetch.ts';
import { republish } from '../../scheduled/republish.ts';
import type { Job } from '../../scheduled/run-job.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';
import { at, cities } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { directSettings } from '../stack/deployment.ts';
import { openJobProcess, type JobProcess } from '../stack/job-process.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';

interface Accepted {
  readonly id: string;
  readonly set: string;
  readonly messages: readonly { readonly id: string }[];
}

const set = 'frankfurt';
const lanes = ['a', 'b', 'c', 'd'] as const;
const transactions = 12;

describe('two crons at once', () => {
  let proxy: TcpProxy;
  let scene: Scene;
  let jobs: JobProcess;
  /** Messages that are to be heard in this order. */
  const orders: string[][] = [];
  const prepared: string[] = [];

  /** A server takes everything while no broker is there, and stops: nobody lives, and nothing was sent. */
  beforeAll(async () => {
    proxy = await startTcpProxy(useStack().amqpUrl);
    proxy.become('closed');
    const [, node] = platforms;
    if (!node) throw new Error('Node is no platform.');
    scene = await openScene(node, 'twice', {
      listeners: { plain: {} },
      change: (seed) => ({
        ...seed,
        sets: seed.sets.map((each) => ({
          ...each,
          brokerUrls: each.brokerUrls.map((url) => proxy.through(url)),
        })),
        topics: seed.topics?.map((topic) => ({ ...topic, secrets: [createWebhookSecret()] })),
      }),
    });
    const post = async (path: string, body: object): Promise<Accepted> => {
      const headers = { 'content-type': 'application/json', ...at(cities.berlin) };
      const answer = await scene.client.post<Accepted>(path, JSON.stringify(body), headers);
      if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
      return answer.body;
    };
    const message = { topic: 'events', tag: 'plain', route: { set } };
    for (const lane of lanes) {
      const ids: string[] = [];
      for (const body of [1, 2, 3]) ids.push((await post('/v1/messages', { ...message, lane, body })).id);
      const items = [1, 2, 3].map((body) => ({ body }));
      const sequence = await post('/v1/sequences', { ...message, messages: items });
      orders.push(
        ids,
        sequence.messages.map(({ id }) => id),
      );
    }
    for (let nth = 0; nth < transactions; nth++) {
      const { messages } = await post('/v1/transactions', {
        messages: [{ ...message, body: 'half' }],
        checkUrl: `${scene.receiver.url}/check`,
        firstCheckAfter: '1h',
      });
      prepared.push(...messages.map(({ id }) => id));
    }
    await scene.server.stop();
    proxy.become('open');
    jobs = openJobProcess({ ...scene.deployment.settings, ...directSettings(useStack()) });
  });
  afterAll(async () => {
    await jobs.close();
    await proxy.close();
    await scene.receiver.stop();
  });

  const database = (): string => scene.deployment.databaseUrls[set] ?? '';
  const twiceAtOnce = async (job: Job): Promise<number> => {
    const reports = await jobs.run(job, job);
    expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
    return reports.reduce((sum, { handled }) => sum + handled, 0);
  };
  const heard = (ids: readonly string[]): readonly string[] =>
    scene.receiver.calls.map(({ headers }) => String(headers['webhook-id'])).filter((id) => ids.includes(id));

  it('deliver lanes and sequences in order, each item once', async () => {
    const isHeard = (): boolean => orders.every((ids) => ids.every((id) => heard([id]).length > 0));
    // What one round does not manage, or gives back, the next one does, as crons come every minute.
    await until(90_000, async () => {
      await twiceAtOnce(republish);
      await twiceAtOnce(fetchWaiting);
      await twiceAtOnce(assembleSequences);
      return isHeard() && (await query(database(), "SELECT FROM agenda WHERE kind = 'order'")).length === 0;
    });
    for (const ids of orders) expect(heard(ids)).toEqual(ids);
  }, 120_000);

  it('ask the producer of each transaction once per due time, and decide once', async () => {
    const asked = (): number => scene.receiver.calls.filter(({ path }) => path === '/check').length;
    const say = (state: string) =>
      Array.from({ length: transactions }, () => ({ status: 200, body: `{"state":"${state}"}` }));
    scene.receiver.script('/check', [...say('unknown'), ...say('committed')]);
    const checkNow = async (): Promise<number> => {
      await query(database(), "UPDATE agenda SET due_at = now() WHERE kind = 'check'");
      return twiceAtOnce(checkTransactions);
    };
    expect(await checkNow()).toBe(transactions);
    expect(asked()).toBe(transactions);
    // Not due: nobody asks.
    expect(await twiceAtOnce(checkTransactions)).toBe(0);
    expect(await checkNow()).toBe(transactions);
    expect(asked()).toBe(2 * transactions);
    const decided = await query(database(), 'SELECT DISTINCT state, checks, decided_by FROM transaction');
    expect(decided).toEqual([{ state: 'COMMITTED', checks: 1, decided_by: 'check' }]);
    await until(60_000, async () => {
      await query(database(), "UPDATE agenda SET due_at = now() WHERE kind = 'send'");
      await twiceAtOnce(republish);
      await twiceAtOnce(fetchWaiting);
      return prepared.every((id) => heard([id]).length > 0);
    });
    expect(heard(prepared).toSorted()).toEqual(prepared.toSorted());
  }, 120_000);
});
