/** A message that the broker keeps refusing: sent again under the same id, then FAILED, for all to see. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startServer, type NodeServer } from '../../functions/node/server.ts';
import { readSettings } from '../../shared/settings.ts';
import { queueOf } from '../../shared/topology/names.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, type Deployment } from '../stack/deployment.ts';

const stack = useStack();
const prefix = `refuse-${crypto.randomUUID().slice(0, 8)}`;
let deployment: Deployment;
let server: NodeServer;

beforeAll(async () => {
  deployment = await deploy(
    stack,
    prefix,
    () => undefined,
    (seed) => ({
      ...seed,
      subscriptions: (seed.subscriptions ?? []).map((entry) => ({ ...entry, status: 'paused' as const })),
    }),
  );
  const settings = {
    ...deployment.settings,
    ...directSettings(stack),
    SETWAY_PORT: '0',
    SETWAY_SEND_ATTEMPTS: '2',
    // A busy machine is slow, and none of its SETs away.
    SETWAY_ACCEPT_TIMEOUT_MS: '10000',
    SETWAY_ACCEPT_DEADLINE_MS: '12000',
  };
  server = await startServer(readSettings(settings), () => undefined);
});
afterAll(() => server.stop());

it('a message is FAILED after the last refused try, and the next good one is confirmed', async () => {
  await vi.waitFor(async () => expect((await publish()).state).toBe('confirmed'), waiting);
  // Full from now on: `reject-publish` nacks what does not fit (RabbitMQ: Queue Length Limit).
  await setPolicy({ 'max-length': 1 });
  await fillUp();
  const { id } = await publish();
  await vi.waitFor(
    async () => expect(await read(id)).toMatchObject({ state: 'FAILED', sendAttempts: 2 }),
    waiting,
  );
  expect((await read(id)).error).toBe('The broker never confirmed it.');
  await setPolicy({ 'max-length': 100_000 });
  await vi.waitFor(async () => expect((await publish()).state).toBe('confirmed'), waiting);
});

const waiting = { timeout: 20_000, interval: 100 };

/** A quorum queue lets a few through before it notices that it is full. */
async function fillUp(): Promise<void> {
  await vi.waitFor(async () => expect((await publish()).state).toBe('stored'), waiting);
}

async function publish(): Promise<{ readonly id: string; readonly state: string }> {
  const response = await fetch(`${server.url}/v1/messages`, {
    method: 'POST',
    headers: { ...authorized(), 'content-type': 'application/json', prefer: 'wait=1' },
    body: JSON.stringify({ topic: 'orders', body: {}, route: { set: 'hangzhou' } }),
  });
  expect(response.status).toBe(202);
  return (await response.json()) as { id: string; state: string };
}

async function read(id: string): Promise<{ readonly state: string; readonly error: string | null }> {
  const response = await fetch(`${server.url}/v1/messages/${id}`, { headers: authorized() });
  return (await response.json()) as { state: string; error: string | null };
}

function authorized() {
  return { authorization: `Bearer ${deployment.apiKey}` };
}

async function setPolicy(definition: object): Promise<void> {
  const { origin, username, password } = new URL(stack.managementUrl);
  const body = JSON.stringify({
    pattern: `^${queueOf({ name: '' }).replaceAll('.', String.raw`\.`)}`,
    definition,
    'apply-to': 'queues',
  });
  const response = await fetch(`${origin}/api/policies/${prefix}_hangzhou/full`, {
    method: 'PUT',
    headers: {
      authorization: `Basic ${btoa(`${username}:${password}`)}`,
      'content-type': 'application/json',
    },
    body,
  });
  expect(response.ok).toBe(true);
}
