/** A SET with two message databases: messages are spread by key, found again, delivered, retried. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { originOf, parseMessageId } from '../../shared/identifier.ts';
import { areDeliveries, createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { countRows, query } from '../stack/query.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

const messages = 40;

describe.each(platforms)('two databases in one SET on $name', (platform) => {
  let receiver: WebhookReceiver;
  let shards: readonly string[];
  let server: RunningPlatform;
  let client: Client;

  beforeAll(async () => {
    const stack = useStack();
    receiver = await startWebhookReceiver();
    const { postgresUrl: second } = await stack.createCorner('second-shard');
    const change = (seed: Deployment['seed']): Deployment['seed'] => ({
      ...addListeners(seed, receiver.url, { plain: {}, flaky: {} }),
      sets: seed.sets.map((set) =>
        set.id === 'frankfurt' ? { ...set, databaseUrls: [...set.databaseUrls, second] } : set,
      ),
    });
    const deployment = await deploy(stack, freshPrefix('shards'), () => undefined, change);
    shards = [deployment.databaseUrls['frankfurt'] ?? '', second];
    server = await platform.start(deployment);
    client = createClient(server.url, deployment);
  });
  afterAll(async () => {
    await server.stop();
    await receiver.stop();
  });

  const publish = async (tag: string, key: string): Promise<string> => {
    const { status, body } = await client.publish({
      topic: 'events',
      tag,
      key,
      route: { set: 'frankfurt' },
      body: { key },
    });
    expect(status).toBe(202);
    return body.id;
  };
  const shardOf = (id: string): number => originOf(parseMessageId(id)).shard % shards.length;

  it('spreads messages by key, finds and delivers each', async () => {
    const ids = await Promise.all(
      Array.from({ length: messages }, (_, index) => publish('plain', `user-${index}`)),
    );
    const counts = await Promise.all(shards.map((url) => countRows([url], 'message')));
    expect(counts[0]).toBeGreaterThan(messages / 8);
    expect(counts[1]).toBeGreaterThan(messages / 8);
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(messages);
    for (const id of ids) await client.message(id, areDeliveries('DONE', 'plain'));
    expect(receiver.calls.filter(({ path }) => path === '/plain')).toHaveLength(messages);
    const rows = await Promise.all(shards.map((url) => query(url, 'SELECT key FROM message')));
    const keys = rows.map((found) => new Set(found.map((row) => row['key'])));
    const again = await publish('plain', 'user-0');
    expect(keys[shardOf(again)]?.has('user-0')).toBe(true);
    await client.message(again, areDeliveries('DONE', 'plain'));
  });

  it('tries deliveries again from the database that has the message', async () => {
    const seen = new Set<number>();
    for (let index = 0; seen.size < 2 && index < 32; index++) {
      receiver.script('/flaky', [{ status: 503 }]);
      const id = await publish('flaky', `retried-${index}`);
      const { deliveries } = await client.message(id, areDeliveries('DONE', 'flaky'));
      expect(deliveries[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['RETRY', 'DONE']);
      seen.add(shardOf(id));
    }
    expect(seen).toEqual(new Set([0, 1]));
    // The webhook may be faster than the books of the sending.
    await until(20_000, async () => (await countRows(shards, 'agenda')) === 0);
  });
});
