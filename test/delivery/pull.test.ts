/** What a puller gets of what a broker hands out, with a real store: a broker's copies are its to make, and not ours to lease. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import type { InboundDelivery } from '../../shared/broker/broker.ts';
import { systemClock } from '../../shared/clock.ts';
import { createPuller } from '../../shared/delivery/pull.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import { toOutbound } from '../../shared/message/envelope.ts';
import type { Message } from '../../shared/message/message.ts';
import { configureDatabases, openDatabase } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import type { Subscription } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { useStack } from '../stack/current-stack.ts';

const set = 'hangzhou';
const bridge = createNeonBridge();
let store: Store;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  const corner = await useStack().createCorner('pull');
  const sql = openDatabase(corner.postgresUrl);
  store = openStore(sql);
  await migrate(sql);
});
afterAll(() => bridge.close());

function subscriptionOf(name: string): Subscription {
  const policy = { format: 'raw', concurrency: 1, timeoutMs: 1_000, retryDelaysMs: [0] } as const;
  return {
    ...policy,
    name,
    owner: 'acme',
    topic: 'orders',
    kind: 'pull',
    bindings: ['#'],
    secrets: [],
    status: 'active',
  };
}

function newMessage(more: Partial<Message> = {}): Message {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
  const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
  return {
    ...content,
    id,
    owner: 'acme',
    body: new Uint8Array([1]),
    acceptedAtMs: 1,
    placement: { set, reason: 'nearest' },
    ...more,
  };
}

/** A puller before a broker that hands out these messages, once. */
function open(
  messages: readonly Message[],
  own: Partial<Store> = {},
  onTake: (maxBytes: number) => void = () => undefined,
) {
  const name = `jobs-${crypto.randomUUID()}`;
  const settled: string[] = [];
  let waiting = messages.map((message): InboundDelivery => {
    const outbound = toOutbound(message);
    return {
      message: { ...outbound, redelivered: true },
      ack: () => void settled.push('ack'),
      requeue: () => void settled.push('requeue'),
      reject: () => void settled.push('reject'),
    };
  });
  const puller = createPuller({
    set,
    host: 'host-1',
    stores: [{ ...store, ...own }],
    broker: {
      state: 'connected',
      depths: async () => new Map(),
      take: async ({ max, maxBytes }, work) => {
        onTake(maxBytes);
        const some = waiting.slice(0, max);
        waiting = waiting.slice(max);
        return work(some);
      },
    },
    clock: systemClock,
    telemetry: createTelemetry(),
    subscription: subscriptionOf,
    passCopy: async () => undefined,
    grip: () => () => true,
    arrive: async () => 'astray',
    onDue: () => undefined,
    ready: async () => undefined,
  });
  const pull = (max = 10) => puller.pull({ subscription: name, max, leaseMs: 60_000 });
  const say = (state: 'RETRY' | 'DONE', { id }: Message, attempt = 1) =>
    store.answer([{ messageId: id, subscription: name, attempt, state, error: null, afterMs: 0 }], {
      set,
      host: 'consumer',
    });
  return { pull, puller, settled, say, name };
}

describe('a pull', () => {
  it('hands out one of several copies, and acks them all', async () => {
    const message = newMessage();
    const { pull, settled } = open([message, message, message]);
    expect((await pull(2)).map(({ message: { id } }) => id)).toEqual([message.id]);
    expect(await pull()).toEqual([]);
    expect(settled).toEqual(['ack', 'ack', 'ack']);
  });

  it('acks nothing that it could not write down', async () => {
    const { pull, settled } = open([newMessage()], { record: () => Promise.reject(new Error('away')) });
    await expect(pull()).rejects.toThrow('away');
    expect(settled).toEqual([]);
  });

  it('does not hand out what has expired, and says so', async () => {
    const message = newMessage({ expiresAtMs: Date.now() - 1 });
    const { pull, settled, name } = open([message]);
    expect(await pull()).toEqual([]);
    const [status] = await store.deliveries([{ messageId: message.id, subscription: name }]);
    expect([status?.state, settled]).toEqual(['SKIPPED', ['ack']]);
  });

  it('hands out fast messages without a lease', async () => {
    const { pull } = open([newMessage({ mode: 'fast' })]);
    expect(await pull()).toMatchObject([{ attempt: 0 }]);
  });

  it('takes no further message once their bodies are 4 MiB, from the store as from the queues', async () => {
    const messages = Array.from({ length: 5 }, () => newMessage({ body: new Uint8Array(1_500_000) }));
    await store.commit(
      messages.map((message) => ({ message })),
      { set, resendAfterMs: 60_000 },
    );
    const wanted: number[] = [];
    const { pull, say } = open(messages, {}, (maxBytes) => void wanted.push(maxBytes));
    expect(await pull(5)).toHaveLength(5); // This broker counts no bytes: what it hands out is not thrown away.
    expect(wanted).toEqual([4_194_304]);
    await Promise.all(messages.map((message) => say('RETRY', message)));
    const [first, second] = [await pull(5), await pull(5)];
    expect([first.length, second.length]).toEqual([3, 2]);
    expect(wanted).toEqual([4_194_304, 1_194_304]);
  });

  it('gives what waits in the store to one of many that ask at once', async () => {
    const messages = Array.from({ length: 20 }, () => newMessage());
    await store.commit(
      messages.map((message) => ({ message })),
      { set, resendAfterMs: 60_000 },
    );
    const { pull, say, puller, name } = open(messages);
    expect(await pull(20)).toHaveLength(20);
    expect(await puller.awaitMessages(name, 0)).toBe(false);
    await Promise.all(messages.map((message) => say('RETRY', message)));
    const got = await Promise.all(Array.from({ length: 8 }, () => pull(6)));
    expect(
      got
        .flat()
        .map(({ message: { id } }) => id)
        .toSorted(),
    ).toEqual(messages.map(({ id }) => id).toSorted());
    expect(new Set(got.flat().map(({ attempt }) => attempt))).toEqual(new Set([2]));
  });
});
