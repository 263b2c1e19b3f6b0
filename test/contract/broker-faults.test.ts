/** What the broker machine does when RabbitMQ itself is killed, hangs or runs out of memory. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../shared/broker/broker.ts';
import type { BrokerEvent } from '../../shared/broker/broker-event.ts';
import { connectBroker } from '../../shared/broker/rabbitmq.ts';
import { systemClock, type Clock } from '../../shared/clock.ts';
import { startPrivateStack } from '../stack/current-stack.ts';
import type { Stack } from '../stack/stack.ts';
import { until } from '../stack/until.ts';
import {
  before,
  connected,
  drain,
  idOf,
  makeCorner,
  messagesTo,
  messageTo,
  reaches,
} from './broker-contract.ts';

let stack: Stack;
const open: Broker[] = [];
let events: BrokerEvent[] = [];

beforeAll(async () => {
  stack = await startPrivateStack();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((broker) => broker.close()));
  await stack.parts.rabbitmq.start(); // Does nothing while it runs: a test that failed leaves no dead broker to the next.
});
afterAll(async () => {
  await stack.stop();
});

function connectTo(urls: readonly string[], heartbeatSeconds = 10, clock: Clock = systemClock): Broker {
  events = [];
  const broker = connectBroker({
    urls,
    heartbeatSeconds,
    connectTimeoutMs: 3000,
    clock,
    closeTimeoutMs: 500,
    onEvent: (event) => events.push(event),
  });
  open.push(broker);
  return broker;
}

async function connectedTo(urls: readonly string[], heartbeatSeconds?: number): Promise<Broker> {
  const broker = connectTo(urls, heartbeatSeconds);
  await connected(broker);
  return broker;
}

const run = promisify(execFile);

/** rabbitmqctl for the node of this stack; Debian keeps it beside the server. */
async function control(...args: readonly string[]): Promise<void> {
  const beside = '/usr/lib/rabbitmq/bin/rabbitmqctl';
  await run(
    existsSync(beside) ? beside : 'rabbitmqctl',
    ['-n', `setway-${stack.ports.amqp}@localhost`, ...args],
    {
      env: {
        ...process.env,
        HOME: path.join(stack.addresses.dir, 'rabbitmq'),
        ERL_EPMD_PORT: String(stack.ports.epmd),
      },
    },
  );
}

/** Publishes without end until `stopped`, and every outcome there was. */
async function flood(
  broker: Broker,
  batch: () => ReturnType<typeof messagesTo>,
  stopped: () => boolean,
): Promise<string[]> {
  const outcomes: string[] = [];
  while (!stopped()) {
    outcomes.push(...(await broker.publish(batch(), { timeoutMs: 60_000 })));
    await new Promise((next) => void setImmediate(next));
  }
  return outcomes;
}

describe('a broker that is killed', () => {
  test('settles all in flight, ends consumptions, and comes back by itself with its topology', async () => {
    const broker = await connectedTo([stack.amqpUrl('/')]);
    const corner = await makeCorner(broker);
    const consumption = await broker.consume({ queue: corner.queue, prefetch: 10, onMessage: () => {} });
    const floods = Array.from({ length: 4 }, () =>
      flood(
        broker,
        () => messagesTo(corner, 200),
        () => broker.state === 'disconnected',
      ),
    );
    await broker.publish(messagesTo(corner, 10), { timeoutMs: 5000 });
    stack.parts.rabbitmq.pause(); // A stopped broker confirms nothing, so this batch is in flight when it dies.
    const inFlight = broker.publish(messagesTo(corner, 50), { timeoutMs: 60_000 });
    await stack.parts.rabbitmq.kill();
    await before('the end of the consumption', consumption.ended);
    await before('all outcomes', Promise.all(floods));
    expect(new Set(await before('the outcomes in flight', inFlight))).toEqual(new Set(['unknown']));
    expect(await broker.publish([messageTo(corner, 'down')], { timeoutMs: 5000 })).toEqual(['unknown']);
    await expect(broker.provision({ exchanges: [], queues: [], bindings: [] })).rejects.toMatchObject({
      kind: 'broker-unavailable',
    });
    await broker.provision(remembered(corner.queue)).catch(() => {});

    await stack.parts.rabbitmq.start();
    await connected(broker);
    const fresh = { exchange: 'new.since.the.kill', queue: 'new.since.the.kill' };
    expect(await broker.publish([messageTo(fresh, 'back')], { timeoutMs: 20_000 })).toEqual(['confirmed']);
    expect(await drain(broker, fresh, 1)).toEqual(['back']);
  });

  test('a broker that hangs is given up after its heartbeats, and nothing waits longer than its timeout', async () => {
    const broker = await connectedTo([stack.amqpUrl('/')], 1);
    const corner = await makeCorner(broker);
    stack.parts.rabbitmq.pause();
    const publishing = broker.publish(messagesTo(corner, 50), { timeoutMs: 300 });
    try {
      expect(new Set(await before('the outcomes', publishing))).toEqual(new Set(['unknown']));
      await reaches(broker, 'disconnected');
    } finally {
      stack.parts.rabbitmq.resume();
    }
    await connected(broker);
    expect(await broker.publish([messageTo(corner, 'back')], { timeoutMs: 20_000 })).toEqual(['confirmed']);
  });
});

/** Waits are over ten times as soon. */
const quickClock: Clock = { ...systemClock, after: (delayMs, task) => systemClock.after(delayMs / 10, task) };

describe('a channel on a live connection', () => {
  const losses = (): readonly string[] =>
    events.flatMap((event) => {
      if (event.kind === 'channel-lost') return event.purpose;
      return event.kind === 'disconnected' ? event.role : [];
    });
  const timeoutMs = 20_000;
  let broker: Broker;

  beforeEach(async () => {
    broker = connectTo([stack.amqpUrl('/')], 10, quickClock);
    await connected(broker);
  });
  test('that stays without confirms is replaced, and what is published then is confirmed', async () => {
    const corner = await makeCorner(broker);
    const publish = (id: string) => broker.publish([messageTo(corner, id)], { timeoutMs });
    expect(await publish('before')).toEqual(['confirmed']);
    await control('eval', suspendConfirmChannels);
    expect(await publish('unheard')).toEqual(['unknown']);
    await until(20_000, async () => (await publish('after')).includes('confirmed'));
    expect(losses()).toEqual(['confirm']);
  });

  test('that holds on to a dead leader is replaced, for fast messages too', async () => {
    const corner = await makeCorner(broker);
    await control('eval', nameLeader(corner.queue, 'gone@localhost'));
    expect(await broker.publish([messageTo(corner, 'refused')], { timeoutMs })).toEqual(['unknown']);
    await broker.publishFast([messageTo(corner, 'lost')]);
    await control('eval', nameLeader(corner.queue, `setway-${stack.ports.amqp}@localhost`));
    const publish = () => broker.publish([messageTo(corner, 'slow')], { timeoutMs });
    await until(20_000, async () => (await publish()).includes('confirmed'));
    await until(20_000, async () => {
      await broker.publishFast([messageTo(corner, 'fast')]);
      const options = { queues: [corner.queue], max: 1000, maxBytes: 1_000_000 };
      return broker.take(options, async (deliveries) => deliveries.map(idOf).includes('fast'));
    });
    expect(losses()).toEqual(['confirm']);
  });

  test('that refuses what is too much for a queue is replaced ever more rarely', async () => {
    const full = await makeCorner(broker, { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
    const lostAtMs: number[] = [];
    await until(25_000, async () => {
      await broker.publish(messagesTo(full, 10), { timeoutMs });
      if (losses().length > lostAtMs.length) lostAtMs.push(performance.now());
      return lostAtMs.length === 4;
    });
    const [first = 0, second = 0, third = 0, fourth = 0] = lostAtMs;
    expect(fourth - third).toBeGreaterThan(second - first);
  });
});

/** Erlang: they keep their connection and their number, and do nothing more. */
const suspendConfirmChannels =
  '[sys:suspend(Pid) || Pid <- rabbit_channel:list(), rabbit_channel:info(Pid, [confirm]) =:= [{confirm, true}]].';

/** Erlang: what a channel that publishes to a queue for the first time learns of its leader, as after the kill of a node. */
const nameLeader = (queue: string, node: string): string => `
  Name = rabbit_misc:r(<<"/">>, queue, <<"${queue}">>),
  Move = fun(Q) -> {Process, _} = amqqueue:get_pid(Q), amqqueue:set_pid(Q, {Process, '${node}'}) end,
  rabbit_misc:execute_mnesia_transaction(fun() -> rabbit_amqqueue:update(Name, Move) end), ok.`;

describe('several URLs', () => {
  test('a node that is down costs one attempt: the next URL is tried', async () => {
    const dead = 'amqp://guest:guest@127.0.0.1:1';
    const broker = await connectedTo([dead, stack.amqpUrl('/')]);
    expect(broker.state).toBe('connected');
    expect(events.find(({ kind }) => kind === 'connect-failed')).toMatchObject({ host: '127.0.0.1:1' });
  });

  test('a wrong password is a state and an event, without the password', async () => {
    const url = new URL(stack.amqpUrl('/'));
    url.password = 'secret-word';
    const broker = connectTo([url.href]);
    await before(
      'a failed attempt',
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (events.some(({ kind }) => kind === 'connect-failed')) resolve();
          else setImmediate(look);
        };
        look();
      }),
    );
    expect(broker.state).toBe('disconnected');
    expect(JSON.stringify(events)).not.toContain('secret-word');
  });
});

describe('a memory alarm', () => {
  test('blocks publishing but not consuming, and ends without harm', async () => {
    const broker = await connectedTo([stack.amqpUrl('/')]);
    const corner = await makeCorner(broker);
    expect(await broker.publish([messageTo(corner, 'before')], { timeoutMs: 20_000 })).toEqual(['confirmed']);
    await control('set_vm_memory_high_watermark', '0.00001');
    try {
      // RabbitMQ tells a connection that it is blocked only when it publishes.
      const blocked = reaches(broker, 'blocked');
      const first = await broker.publish(messagesTo(corner, 3), { timeoutMs: 1000 });
      await blocked;
      expect(first).toContain('unknown');
      expect(await broker.publish([messageTo(corner, 'x')], { timeoutMs: 60_000 })).toEqual(['unknown']);
      await expect(broker.publishFast([messageTo(corner, 'x')])).rejects.toMatchObject({
        kind: 'broker-unavailable',
      });
      expect(await drain(broker, corner, 1)).toEqual(['before']);
    } finally {
      await control('set_vm_memory_high_watermark', 'absolute', '1GB');
    }
    await connected(broker);
    expect(await broker.publish([messageTo(corner, 'after')], { timeoutMs: 20_000 })).toEqual(['confirmed']);
  });
});

function remembered(queue: string): Parameters<Broker['provision']>[0] {
  const name = 'new.since.the.kill';
  return {
    exchanges: [{ name, type: 'topic' }],
    queues: [name, queue].map((each) => ({ name: each, arguments: { 'x-queue-type': 'quorum' } })),
    bindings: [{ exchange: name, queue: name, bindingKey: 'a.#' }],
  };
}
