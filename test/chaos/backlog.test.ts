/** A subscription that sleeps while its messages come: they wait on the broker's disk, are counted, and all come later. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms } from '../stack/platform.ts';
import { callManagement } from '../stack/rabbitmq.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

const messages = 50_000;
const bodyBytes = 1_024;
const bulkSize = 1_000;
const json = { 'content-type': 'application/json' };

function bodyOf(n: number): object {
  const empty = JSON.stringify({ n, pad: '' }).length;
  return { n, pad: 'x'.repeat(bodyBytes - empty) };
}

interface Shown {
  readonly backlog: readonly { readonly set: string; readonly ready: number | null }[];
}

/** What RabbitMQ says of a queue, some seconds late. */
interface QueueStatistics {
  readonly memory: number;
  readonly messages_ready: number;
  readonly message_bytes: number;
  readonly message_bytes_ram: number;
}

describe.each(platforms.filter(({ name }) => name === 'Node'))('a backlog on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(platform, 'backlog', {
      listeners: { sleeper: { status: 'paused', concurrency: 256 } },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (from: number): Promise<void> => {
    const body = JSON.stringify(
      Array.from({ length: bulkSize }, (_, n) => ({
        topic: 'events',
        tag: 'sleeper',
        body: bodyOf(from + n),
      })),
    );
    const headers = { ...json, ...at(cities.berlin), prefer: 'wait=10' };
    const reply = await scene.client.post<{ readonly results: readonly { readonly status: number }[] }>(
      '/v1/messages/bulk',
      body,
      headers,
    );
    expect(new Set(reply.body.results.map(({ status }) => status))).toEqual(new Set([202]));
  };
  const ready = async (): Promise<number> => {
    const { body } = await scene.operator.get<Shown>('/v1/subscriptions/sleeper');
    return body.backlog.reduce((sum, each) => sum + (each.ready ?? 0), 0);
  };
  const statistics = async (): Promise<QueueStatistics> => {
    const vhost = new URL(scene.deployment.brokerUrls['frankfurt'] ?? '').pathname.slice(1);
    const path = `/api/queues/${vhost}/setway.sub.sleeper`;
    return (await callManagement(useStack().managementUrl, 'GET', path)).json() as Promise<QueueStatistics>;
  };

  it('is counted, keeps no bodies in the memory of its queue, and is delivered without a loss', async () => {
    let next = 0;
    const publisher = async (): Promise<void> => {
      while (next < messages) await publish((next += bulkSize) - bulkSize);
    };
    await Promise.all([publisher(), publisher()]);
    await until(30_000, async () => (await ready()) === messages);
    const full = await until(30_000, async () => {
      const said = await statistics();
      return said.messages_ready === messages && said.message_bytes >= messages * bodyBytes
        ? said
        : undefined;
    });
    expect(full.message_bytes_ram).toBe(0);
    expect(full.memory).toBeLessThan(full.message_bytes / 4);

    expect((await scene.operator.post('/v1/subscriptions/sleeper/resume', '', json)).status).toBe(200);
    const seen = new Set<number>();
    let looked = 0;
    await scene.receiver.waitFor((calls) => {
      for (; looked < calls.length; looked++)
        seen.add((JSON.parse(calls[looked]?.body.toString() ?? '') as { readonly n: number }).n);
      return seen.size === messages;
    }, 240_000);
    await until(30_000, async () => (await ready()) === 0);
  }, 400_000);
});
