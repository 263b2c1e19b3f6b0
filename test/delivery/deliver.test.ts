import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { InboundDelivery } from '../../shared/broker/broker.ts';
import type { Answer } from '../../shared/delivery/courier.ts';
import { createDeliverer } from '../../shared/delivery/deliver.ts';
import { createGrips } from '../../shared/delivery/grip.ts';
import { mintMessageId, type MessageId } from '../../shared/identifier.ts';
import { toOutbound } from '../../shared/message/envelope.ts';
import type { Message } from '../../shared/message/message.ts';
import { Problem } from '../../shared/problem.ts';
import type { DeliveryOutcome } from '../../shared/store/delivery-outcome.ts';
import type { Tenure } from '../../shared/sets/tenure.ts';
import type { Footing } from '../../shared/store/handover.ts';
import type { Store } from '../../shared/store/store.ts';
import type { Subscription } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const subscription: Subscription = {
  name: 'inventory',
  owner: 'acme',
  topic: 'orders',
  endpoint: { function: 'inventory' },
  bindings: ['#'],
  format: 'raw',
  concurrency: 4,
  timeoutMs: 1_000,
  retryDelaysMs: [1_000],
  secrets: [],
  status: 'active',
};

const notCalled = () => Promise.reject(new Error('not called'));

const message: Message = {
  id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
  owner: 'acme',
  topic: 'orders',
  mode: 'confirm',
  body: new Uint8Array(),
  contentType: 'text/plain',
  headers: {},
  acceptedAtMs: 0,
  placement: { set: 'hangzhou', reason: 'nearest' },
};

/** What the broker hands out, and what became of it. */
function handedOut(overrides: Partial<Message> = {}) {
  const { routingKey, body, properties } = toOutbound({ ...message, ...overrides });
  const delivery = { ack: vi.fn<() => void>(), requeue: vi.fn<() => void>(), reject: vi.fn<() => void>() };
  const inbound = { routingKey, body, properties, redelivered: true };
  return { ...delivery, message: inbound } satisfies InboundDelivery;
}

/** A part that fails so often before it works. */
function failing<T>(times: number, value: T): () => Promise<T> {
  let left = times;
  return async () => {
    if (left-- > 0) throw new Problem('database-unavailable', 'away');
    return value;
  };
}

/** What the database says of the SET, and how often it was asked. */
const book = {
  footing: vi.fn<() => Promise<Footing>>(),
  departed: async (ids: readonly MessageId[]) => new Set(ids),
};
beforeEach(() => {
  book.footing.mockReset();
  footingBecomes('serving', 0);
});

function footingBecomes(state: Tenure['state'], epoch: number, lastLeftAtMs?: number): void {
  book.footing.mockImplementation(async () => ({ tenure: { state, epoch }, lastLeftAtMs }));
}

interface Failures {
  readonly lookups?: number;
  readonly calls?: number;
  readonly records?: number;
}

function open({ lookups = 0, calls = 0, records = 0 }: Failures) {
  const clock = new FakeClock();
  const done: Answer = { verdict: 'done', status: 200, error: null, durationMs: 1 };
  const recorded: DeliveryOutcome[] = [];
  const written = failing(records, undefined);
  const record: Store['record'] = async (outcomes) => {
    await written();
    recorded.push(...outcomes);
    return [];
  };
  const store = { deliveries: failing(lookups, []), record } as unknown as Store;
  const carry = vi.fn<() => Promise<Answer[]>>(failing(calls, [done]));
  const onFenced = vi.fn<() => void>();
  const grips = createGrips({ set: 'hangzhou', books: [book], clock, knownForMs: 10_000 });
  const deliverer = createDeliverer({
    set: 'hangzhou',
    host: 'host-1',
    stores: [store],
    courier: { sliceSize: 1, carry, ask: notCalled, tell: notCalled },
    clock,
    telemetry: createTelemetry(),
    subscription: () => subscription,
    passCopy: async () => undefined,
    arrive: async () => 'astray' as const,
    disable: async () => undefined,
    onRetry: () => undefined,
    onOwed: () => undefined,
    onFenced,
    grip: grips.take,
    hosts: () => 1,
    onBreaker: () => undefined,
    onAnswer: () => undefined,
  });
  return { clock, deliverer, recorded, carry, onFenced, grips };
}

/** More often than a quorum queue hands out a message again before it goes to the dead letters. */
const often = 150;

describe('a message in the hands of a host', () => {
  it.each([
    ['the database cannot be asked', { lookups: often }],
    ['the courier fails', { calls: often }],
    ['the outcome cannot be written', { records: often }],
  ])('stays there while %s: each return would count towards the delivery limit', async (_, failures) => {
    const { clock, deliverer } = open(failures);
    const delivery = handedOut();
    deliverer.take(delivery, subscription.name);
    for (let turn = 0; turn < often + 5; turn++) await clock.move(600);
    expect(delivery.requeue).not.toHaveBeenCalled();
    expect(delivery.reject).not.toHaveBeenCalled();
    expect(delivery.ack).toHaveBeenCalledOnce();
  });

  it('goes back when the host stops', async () => {
    const { clock, deliverer } = open({ lookups: often });
    const delivery = handedOut();
    deliverer.take(delivery, subscription.name);
    await clock.move(600);
    deliverer.abandon();
    for (let turn = 0; turn < 5; turn++) await clock.move(600);
    expect(delivery.requeue).toHaveBeenCalledOnce();
    expect(delivery.ack).not.toHaveBeenCalled();
  });
});

describe('a message that expires', () => {
  it('is delivered before, and skipped with the reason after', async () => {
    const { clock, deliverer, recorded, carry } = open({});
    const expiresAtMs = clock.nowMs() + 10_000;
    deliverer.take(handedOut({ expiresAtMs }), subscription.name);
    await clock.move(100);
    expect(recorded.map(({ state }) => state)).toEqual(['DONE']);
    await clock.move(10_000);
    const late = handedOut({ expiresAtMs });
    deliverer.take(late, subscription.name);
    await clock.move(100);
    expect(carry).toHaveBeenCalledOnce();
    expect(recorded.at(-1)).toMatchObject({ state: 'SKIPPED', attempt: 1, status: null });
    expect(recorded.at(-1)?.error).toBe(`It expired at ${new Date(expiresAtMs).toISOString()}.`);
    expect(late.ack).toHaveBeenCalledOnce();
  });

  it('is not called any more in fast mode', async () => {
    const { clock, deliverer, carry } = open({});
    const late = handedOut({ mode: 'fast', expiresAtMs: clock.nowMs() - 1 });
    deliverer.take(late, subscription.name);
    await clock.move(100);
    await vi.waitFor(() => expect(late.ack).toHaveBeenCalledOnce());
    expect(carry).not.toHaveBeenCalled();
  });
});

describe('messages that wait for a slot while their host sleeps', () => {
  /** Whatever is under way goes on until it waits. */
  async function pass(clock: FakeClock): Promise<void> {
    for (let turn = 0; turn < 20; turn++) {
      await clock.move(5);
      await new Promise(setImmediate);
    }
  }

  /** All slots are taken, and some wait; then the process stands still, and somebody gives it up. */
  async function asleep(meanwhile: () => void) {
    const scene = open({});
    const slots = Array.from({ length: subscription.concurrency }, () => Promise.withResolvers<Answer[]>());
    for (const { promise } of slots) scene.carry.mockImplementationOnce(() => promise);
    const begun = slots.map(() => handedOut());
    const waiting = Array.from({ length: 20 }, () => handedOut());
    for (const each of [...begun, ...waiting]) scene.deliverer.take(each, subscription.name);
    await pass(scene.clock);
    expect(scene.carry).toHaveBeenCalledTimes(slots.length);
    const asked = book.footing.mock.calls.length;
    await scene.clock.move(60_000);
    meanwhile();
    for (const { resolve } of slots) resolve([{ verdict: 'done', status: 200, error: null, durationMs: 1 }]);
    await pass(scene.clock);
    expect(book.footing, 'one round trip for all of them').toHaveBeenCalledTimes(asked + 1);
    return { ...scene, waiting, calledBefore: slots.length };
  }

  it("are called when it is still the SET's host", async () => {
    const { carry, waiting, calledBefore } = await asleep(() => undefined);
    expect(carry).toHaveBeenCalledTimes(calledBefore + waiting.length);
    for (const { ack } of waiting) expect(ack).toHaveBeenCalledOnce();
  });

  it('are neither called nor acked when the SET was taken over', async () => {
    const { carry, waiting, calledBefore, onFenced } = await asleep(() => footingBecomes('fenced', 1));
    expect(carry).toHaveBeenCalledTimes(calledBefore);
    for (const { ack, requeue } of waiting) expect([ack.mock.calls, requeue.mock.calls]).toEqual([[], []]);
    expect(onFenced).toHaveBeenCalled();
  });

  it('are acked and not called when the SET was taken over and is back', async () => {
    const { carry, waiting, calledBefore } = await asleep(() => footingBecomes('serving', 2, Date.now()));
    expect(carry).toHaveBeenCalledTimes(calledBefore);
    for (const { ack } of waiting) expect(ack).toHaveBeenCalledOnce();
  });

  it('are asked for again when the host hears of another tenure before it looks', async () => {
    const { clock, carry, deliverer, grips } = open({});
    const slot = Promise.withResolvers<Answer[]>();
    for (let n = 0; n < subscription.concurrency; n++) carry.mockImplementationOnce(() => slot.promise);
    for (let n = 0; n <= subscription.concurrency; n++) deliverer.take(handedOut(), subscription.name);
    await pass(clock);
    footingBecomes('serving', 2, Date.now());
    grips.renew();
    // Something new is handed out first, so that all is known of late.
    deliverer.take(handedOut(), subscription.name);
    await pass(clock);
    slot.resolve([{ verdict: 'done', status: 200, error: null, durationMs: 1 }]);
    await pass(clock);
    expect(carry).toHaveBeenCalledTimes(subscription.concurrency);
  });
});
