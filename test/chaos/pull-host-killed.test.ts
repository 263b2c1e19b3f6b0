/** A Node process killed with SIGKILL while pullers hold messages: what they held stays theirs, and no message is lost. */
import { afterEach, expect, test } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import { at, cities, createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix } from '../stack/deployment.ts';
import { addListeners } from '../stack/listeners.ts';
import { startNodeHost, type NodeHost } from './node-host.ts';

interface Pulled {
  readonly delivery: string;
  readonly id: string;
  readonly attempt: number;
}

const stack = useStack();
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

const jobs = {
  kind: 'pull',
  endpoint: undefined,
  secrets: undefined,
  retryDelaysMs: [100, 100, 100],
} as const;
const count = 20;

test('messages that were pulled before the kill are acked after it; the others come again', async () => {
  const { text, key } = mintApiKey({
    owner: 'demo',
    scopes: ['publish', 'read', 'consume'],
    maySetPlace: true,
  });
  const deployment = await deploy(
    stack,
    freshPrefix('pulled'),
    () => undefined,
    (seed) => {
      const listening = addListeners(seed, 'http://127.0.0.1:9', {
        jobs: { ...jobs, retryDelaysMs: [...jobs.retryDelaysMs] },
      });
      return { ...listening, keys: [...(listening.keys ?? []), { ...key, scopes: [...key.scopes] }] };
    },
  );
  const start = async (): Promise<{ host: NodeHost; client: Client }> => {
    const host = await startNodeHost({ ...deployment.settings, ...directSettings(stack), SETWAY_PORT: '0' });
    stops.push(() => host.stop());
    return { host, client: createClient(host.url, { apiKey: text }) };
  };
  const before = await start();
  const ids = await Promise.all(
    Array.from({ length: count }, async () => {
      const { body } = await before.client.publish(
        { topic: 'events', tag: 'jobs', body: 1 },
        at(cities.berlin),
      );
      return body.id;
    }),
  );
  const held: Pulled[] = [];
  while (held.length < count / 2)
    held.push(...(await pull(before.client, { max: count / 2 - held.length, lease: '10m' })));
  // This one's answer is never seen: its leases end.
  void pull(before.client, { max: 5, lease: '2s' }).catch(() => []);
  await before.host.kill();
  const { client } = await start();
  expect(await ack(client, held)).toEqual(held.map(() => 'ok'));
  const rest = new Set(ids.filter((id) => !held.some((each) => each.id === id)));
  const got = new Set<string>();
  const endMs = Date.now() + 60_000;
  while (got.size < rest.size && Date.now() < endMs) {
    const some = await pull(client, { wait: '2s', lease: '10m' });
    await ack(client, some);
    for (const { id } of some) got.add(id);
  }
  expect([...got].toSorted()).toEqual([...rest].toSorted());
}, 120_000);

async function pull(client: Client, body: object): Promise<readonly Pulled[]> {
  const reply = await client.post<{ messages: readonly Pulled[] }>(
    '/v1/subscriptions/jobs/pull',
    JSON.stringify({ wait: '2s', ...body }),
    {
      'content-type': 'application/json',
    },
  );
  return reply.body.messages;
}

async function ack(client: Client, pulled: readonly Pulled[]): Promise<readonly string[]> {
  if (pulled.length === 0) return [];
  const ids = pulled.map(({ delivery }) => delivery);
  const reply = await client.post<{ results: readonly { outcome: string }[] }>(
    '/v1/subscriptions/jobs/ack',
    JSON.stringify({ ids }),
    {
      'content-type': 'application/json',
    },
  );
  return reply.body.results.map(({ outcome }) => outcome);
}
