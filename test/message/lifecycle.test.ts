/** The tables of transitions, held against the statements that change states in a real database. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId, mintedAtMs, type MessageId } from '../../shared/identifier.ts';
import {
  deliveryTransitions,
  messageTransitions,
  type DeliveryState,
} from '../../shared/message/lifecycle.ts';
import { configureDatabases, openDatabase } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Settlement, Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const set = 'hangzhou';
const by = { set, host: 'test' };
const bridge = createNeonBridge();
let store: Store;

beforeAll(async () => {
  configureDatabases({ fetch: bridge.fetch, timeoutMs: 10_000 });
  const corner = await useStack().createCorner('lifecycle');
  const sql = openDatabase(corner.postgresUrl);
  await migrate(sql);
  store = openStore(sql);
});
afterAll(() => bridge.close());

/** What the broker's word decides; the other states have tests beside the statements that make them. */
const messageStates = ['READY', 'CONFIRMED', 'UNROUTABLE', 'FAILED'] as const;
const messagePairs = messageStates.flatMap((from) => messageStates.map((to) => ({ from, to })));

it.each(messagePairs)(
  'a message goes from $from to $to exactly if the table says so',
  async ({ from, to }) => {
    const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
    await commit(id);
    if (from !== 'READY') await settle(id, from);
    await settle(id, to);
    const isAllowed = messageTransitions[from].includes(to);
    expect((await store.find(id))?.state).toBe(isAllowed ? to : from);
  },
);

const deliveryStates = Object.keys(deliveryTransitions) as DeliveryState[];
const deliveryPairs = deliveryStates.flatMap((from) => deliveryStates.map((to) => ({ from, to })));

it.each(deliveryPairs)(
  'a delivery goes from $from to $to exactly if the table says so',
  async ({ from, to }) => {
    const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
    await commit(id);
    await record(id, from, 1);
    await record(id, to, 2);
    const isAllowed = deliveryTransitions[from].includes(to);
    const [status] = await store.deliveries([{ messageId: id, subscription: 'inventory' }]);
    expect(status).toMatchObject({ state: isAllowed ? to : from, attempts: isAllowed ? 2 : 1 });
  },
);

it('an id tells when it was made', () => {
  const nowMs = Date.now();
  expect(mintedAtMs(mintMessageId({ setNumber: 4095, shard: 63 }, nowMs))).toBe(nowMs);
});

async function commit(id: MessageId): Promise<void> {
  const message = {
    id,
    owner: 'acme',
    topic: 'orders',
    mode: 'confirm',
    body: new Uint8Array([1]),
    contentType: 'text/plain',
    headers: {},
    acceptedAtMs: Date.now(),
    placement: { set, reason: 'nearest' },
  } as const;
  await store.commit([{ message }], { set, resendAfterMs: 60_000 });
}

async function settle(id: MessageId, state: (typeof messageStates)[number]): Promise<void> {
  const lists = {
    CONFIRMED: 'confirmed',
    UNROUTABLE: 'unroutable',
    FAILED: 'failed',
    READY: 'again',
  } as const;
  const nothing = { confirmed: [], unroutable: [], failed: [], again: [], againAfterMs: 0 };
  const lease = { entry: '0', token: '0' };
  const settlement: Settlement = { ...nothing, lease, [lists[state]]: [id] };
  await store.settle(settlement);
}

async function record(messageId: MessageId, state: DeliveryState, attempt: number): Promise<void> {
  const outcome = { messageId, subscription: 'inventory', state, attempt, status: 200, error: null };
  await store.record([{ ...outcome, durationMs: 1, retryAfterMs: 60_000 }], by);
}
