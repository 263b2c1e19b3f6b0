/** What every broker behind `shared/broker/broker.ts` must do, on a real RabbitMQ. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Broker, Consumption, InboundDelivery } from '../../shared/broker/broker.ts';
import type { OutboundMessage } from '../../shared/message/amqp-message.ts';
import type { QueuePlan } from '../../shared/topology/plan.ts';

export interface BrokerPlace {
  /** A new broker object, not yet connected perhaps, on a vhost that stays the same for the place. */
  connect(): Broker;
  deleteQueue(name: string): Promise<void>;
  deleteExchange(name: string): Promise<void>;
  /** Cuts every connection there is; new ones come through. */
  cut(): void;
}

/** An exchange with one queue bound to `a.#`, both new. */
export interface Corner {
  readonly exchange: string;
  readonly queue: string;
}

const deadlineMs = 15_000;

export function connected(broker: Broker): Promise<void> {
  return reaches(broker, 'connected');
}

export function reaches(broker: Broker, wanted: Broker['state']): Promise<void> {
  return before(
    `the state ${wanted}`,
    new Promise((resolve) => {
      if (broker.state === wanted) return resolve();
      const forget = broker.onState((state) => {
        if (state !== wanted) return;
        forget();
        resolve();
      });
    }),
  );
}

/** Fails with a name instead of hanging. */
export async function before<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${deadlineMs} ms for ${what}.`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function makeCorner(
  broker: Broker,
  queueArguments: QueuePlan['arguments'] = {},
): Promise<Corner> {
  const name = `contract.${crypto.randomUUID()}`;
  await broker.provision({
    exchanges: [{ name, type: 'topic' }],
    queues: [{ name, arguments: { 'x-queue-type': 'quorum', ...queueArguments } }],
    bindings: [{ exchange: name, queue: name, bindingKey: 'a.#' }],
  });
  return { exchange: name, queue: name };
}

export function messageTo({ exchange }: Corner, id: string, routingKey = 'a.b'): OutboundMessage {
  return {
    exchange,
    routingKey,
    body: Buffer.from(`body of ${id}`),
    properties: { messageId: id, headers: {} },
  };
}

export function messagesTo(corner: Corner, count: number): OutboundMessage[] {
  return Array.from({ length: count }, (_, index) => messageTo(corner, `m${index}`));
}

export function idOf({ message }: InboundDelivery): string {
  return message.properties.messageId ?? '';
}

/** Collects deliveries without settling them, until there are `count`. */
function collector(count: number): {
  readonly taken: InboundDelivery[];
  readonly onMessage: (delivery: InboundDelivery) => void;
  readonly complete: Promise<void>;
} {
  const taken: InboundDelivery[] = [];
  let finish = (): void => {};
  const complete = before(`${count} deliveries`, new Promise<void>((resolve) => (finish = resolve)));
  const onMessage = (delivery: InboundDelivery): void => {
    taken.push(delivery);
    if (taken.length === count) finish();
  };
  return { taken, onMessage, complete };
}

/** Consumes and acks `count` messages, and their ids. */
export async function drain(broker: Broker, { queue }: Corner, count: number): Promise<string[]> {
  const { taken, onMessage, complete } = collector(count);
  const consumption = await broker.consume({
    queue,
    prefetch: 500,
    onMessage(delivery) {
      delivery.ack();
      onMessage(delivery);
    },
  });
  await complete;
  await consumption.stop(5000);
  return taken.map(idOf);
}

function ackAll(taken: readonly InboundDelivery[]): void {
  for (const delivery of taken) delivery.ack();
}

const patient = { timeoutMs: 10_000 };

export function brokerContract(openPlace: () => Promise<BrokerPlace>): void {
  const open: Broker[] = [];
  const start = async (): Promise<{ readonly broker: Broker; readonly place: BrokerPlace }> => {
    const place = await openPlace();
    const broker = place.connect();
    open.push(broker);
    await connected(broker);
    return { broker, place };
  };
  afterEach(async () => {
    await Promise.all(open.splice(0).map((broker) => broker.close()));
  });

  describe('publishing', () => {
    test('a message a queue takes is confirmed and arrives as it was sent', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const sent: OutboundMessage = {
        exchange: corner.exchange,
        routingKey: 'a.b',
        body: new Uint8Array([0, 255, 10]),
        properties: {
          messageId: 'one',
          type: 'orders',
          contentType: 'application/json',
          timestamp: 1_700_000_000,
          appId: 'setway',
          headers: { traceparent: '00-1', 'setway-distance': 12.5, count: 3 },
        },
      };
      expect(await broker.publish([sent], patient)).toEqual(['confirmed']);
      const { taken, onMessage, complete } = collector(1);
      await broker.consume({ queue: corner.queue, prefetch: 1, onMessage });
      await complete;
      ackAll(taken);
      const { body, ...rest } = taken[0]?.message ?? { body: new Uint8Array() };
      expect([...body]).toEqual([0, 255, 10]);
      expect(rest).toEqual({ routingKey: 'a.b', redelivered: false, properties: sent.properties });
    });

    test('a message no queue takes is unroutable, not confirmed', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const outcomes = await broker.publish(
        [messageTo(corner, 'x', 'nobody'), messageTo(corner, 'y')],
        patient,
      );
      expect(outcomes).toEqual(['unroutable', 'confirmed']);
    });

    test('the same id twice in flight has an outcome for each', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const lost = messageTo(corner, 'same', 'nobody');
      const taken = messageTo(corner, 'same');
      const outcomes = await Promise.all([
        broker.publish([taken, lost, taken], patient),
        broker.publish([lost, taken], patient),
      ]);
      expect(outcomes).toEqual([
        ['confirmed', 'unroutable', 'confirmed'],
        ['unroutable', 'confirmed'],
      ]);
    });

    test('outcomes keep the order of thousands of messages in several calls', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const messages = Array.from({ length: 3000 }, (_, index) =>
        messageTo(corner, `m${index}`, index % 7 === 0 ? 'nobody' : 'a.b'),
      );
      const expected = messages.map((_, index) => (index % 7 === 0 ? 'unroutable' : 'confirmed'));
      const calls = await Promise.all([broker.publish(messages, patient), broker.publish(messages, patient)]);
      expect(calls).toEqual([expected, expected]);
    });

    test('bodies of many frames and empty ones go through', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const bodies = [new Uint8Array(0), new Uint8Array(3_000_000).fill(7), new Uint8Array(2040).fill(1)];
      const messages = bodies.map((body, index) => ({ ...messageTo(corner, `b${index}`), body }));
      expect(await broker.publish(messages, patient)).toEqual(['confirmed', 'confirmed', 'confirmed']);
      const { taken, onMessage, complete } = collector(3);
      await broker.consume({ queue: corner.queue, prefetch: 3, onMessage });
      await complete;
      ackAll(taken);
      expect(taken.map(({ message }) => message.body.length)).toEqual([0, 3_000_000, 2040]);
    });

    test('no messages have no outcomes', async () => {
      const { broker } = await start();
      expect(await broker.publish([], patient)).toEqual([]);
    });

    test.each([
      ['a routing key of 256 bytes', { routingKey: 'é'.repeat(128) }, '/1/routingKey'],
      ['a CC header', { properties: { headers: { CC: 'other.queue' } } }, '/1/headers/CC'],
      [
        'a message id of 256 bytes',
        { properties: { messageId: 'i'.repeat(256), headers: {} } },
        '/1/messageId',
      ],
      ['64 KiB of headers', { properties: { headers: { long: 'h'.repeat(65_536) } } }, '/1/headers'],
      ['a header that is no number', { properties: { headers: { n: Number.NaN } } }, '/1/headers/n'],
      ['a timestamp that is not whole', { properties: { timestamp: 1.5, headers: {} } }, '/1/timestamp'],
      ['a body beyond 16 MiB', { body: new Uint8Array(16 * 1024 * 1024 + 1) }, '/1/body'],
    ])('%s is refused before anything is written, and names its place', async (_, fault, at) => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const good = messageTo(corner, 'good');
      const refused = broker.publish([good, { ...good, ...fault }], patient);
      await expect(refused).rejects.toMatchObject({ kind: 'invalid-request', extras: { faults: [{ at }] } });
      await expect(broker.publishFast([{ ...good, ...fault }])).rejects.toMatchObject({
        kind: 'invalid-request',
      });
      expect(await broker.publish([messageTo(corner, 'next')], patient)).toEqual(['confirmed']);
      expect(await drain(broker, corner, 1)).toEqual(['next']);
    });

    test('a missing exchange makes its messages unknown, and others work on', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const stray = messageTo({ exchange: 'nowhere', queue: '' }, 'stray');
      expect(await broker.publish([stray], patient)).toEqual(['unknown']);
      // Its resend goes along with good ones, and costs them nothing any more.
      const outcomes = await broker.publish([messageTo(corner, 'a'), stray, messageTo(corner, 'b')], patient);
      expect(outcomes).toEqual(['confirmed', 'unknown', 'confirmed']);
    });

    test('an exchange of the topology that somebody deleted comes back', async () => {
      const { broker, place } = await start();
      const corner = await makeCorner(broker);
      await place.deleteExchange(corner.exchange);
      expect(await broker.publish([messageTo(corner, 'a')], patient)).toEqual(['unknown']);
      const resend = async (): Promise<void> => {
        const [outcome] = await broker.publish([messageTo(corner, 'a')], patient);
        if (outcome !== 'confirmed') return new Promise<void>((next) => void setImmediate(next)).then(resend);
      };
      await before('the exchange to come back', resend());
    });

    test('a full queue makes the rest unknown', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker, { 'x-max-length': 2, 'x-overflow': 'reject-publish' });
      const outcomes: string[] = [];
      // One by one: a quorum queue counts what it took with a small delay.
      while (!outcomes.includes('unknown') && outcomes.length < 200) {
        outcomes.push(...(await broker.publish([messageTo(corner, 'm')], patient)));
      }
      expect(outcomes.slice(0, 2)).toEqual(['confirmed', 'confirmed']);
      expect(outcomes).toContain('unknown');
    });

    test('before it is connected every outcome is unknown, and fast is a problem', async () => {
      const place = await openPlace();
      const broker = place.connect();
      open.push(broker);
      const early = messageTo({ exchange: 'x', queue: 'x' }, 'early');
      expect(broker.state).toBe('disconnected');
      expect(await broker.publish([early], patient)).toEqual(['unknown']);
      await expect(broker.publishFast([early])).rejects.toMatchObject({ kind: 'broker-unavailable' });
      await expect(broker.consume({ queue: 'x', prefetch: 1, onMessage: () => {} })).rejects.toMatchObject({
        kind: 'broker-unavailable',
      });
    });
  });

  describe('publishing fast', () => {
    test('closing right after 2000 messages loses none of them', async () => {
      const { broker, place } = await start();
      const corner = await makeCorner(broker);
      await broker.publishFast(messagesTo(corner, 2000));
      await broker.close();
      const second = place.connect();
      open.push(second);
      await connected(second);
      const ids = await drain(second, corner, 2000);
      expect(new Set(ids).size).toBe(2000);
    });
  });

  describe('consuming', () => {
    test('no more than the prefetch is handed out', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish(messagesTo(corner, 10), patient);
      const { taken, onMessage, complete } = collector(3);
      const consumption = await broker.consume({ queue: corner.queue, prefetch: 3, onMessage });
      await complete;
      // A second consumption gets the rest: RabbitMQ had every chance to hand out more to the first.
      const rest = await drain(broker, corner, 7);
      expect(taken.map(idOf)).toEqual(['m0', 'm1', 'm2']);
      expect(rest).toEqual(['m3', 'm4', 'm5', 'm6', 'm7', 'm8', 'm9']);
      ackAll(taken);
      await consumption.stop(5000);
    });

    test('a requeued message comes again, marked as redelivered', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish([messageTo(corner, 'again')], patient);
      const { taken, onMessage, complete } = collector(2);
      await broker.consume({
        queue: corner.queue,
        prefetch: 1,
        onMessage(delivery) {
          if (!delivery.message.redelivered) delivery.requeue();
          onMessage(delivery);
        },
      });
      await complete;
      ackAll(taken);
      expect(taken.map(({ message }) => message.redelivered)).toEqual([false, true]);
    });

    test('a rejected message goes to the dead-letter exchange, not back', async () => {
      const { broker } = await start();
      const dead = await makeCorner(broker);
      const corner = await makeCorner(broker, { 'x-dead-letter-exchange': dead.exchange });
      await broker.publish([messageTo(corner, 'dead')], patient);
      const consumption = await broker.consume({
        queue: corner.queue,
        prefetch: 1,
        onMessage: (delivery) => delivery.reject(),
      });
      expect(await drain(broker, dead, 1)).toEqual(['dead']);
      await consumption.stop(5000);
    });

    test('settling twice counts once', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish(messagesTo(corner, 3), patient);
      const { taken, onMessage, complete } = collector(3);
      const consumption = await broker.consume({
        queue: corner.queue,
        prefetch: 1,
        onMessage(delivery) {
          delivery.ack();
          delivery.ack();
          delivery.requeue();
          onMessage(delivery);
        },
      });
      await complete;
      await consumption.stop(5000);
      expect(taken.map(idOf)).toEqual(['m0', 'm1', 'm2']);
    });

    test.each([
      [
        'throws',
        () => {
          throw new Error('poison');
        },
      ],
      ['rejects', () => Promise.reject(new Error('poison'))],
    ])('a handler that %s gives its message back, and the next one is handed out', async (_, fail) => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish([messageTo(corner, 'poison'), messageTo(corner, 'good')], patient);
      const { taken, onMessage, complete } = collector(2);
      const consumption = await broker.consume({
        queue: corner.queue,
        prefetch: 1,
        onMessage(delivery) {
          if (!delivery.message.redelivered && idOf(delivery) === 'poison') return fail();
          delivery.ack();
          onMessage(delivery);
          return undefined;
        },
      });
      await complete;
      await consumption.stop(5000);
      expect(taken.map(idOf).toSorted()).toEqual(['good', 'poison']);
    });

    test('two consumptions share a queue: each message once', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const { taken, onMessage, complete } = collector(200);
      const perConsumption = [0, 0];
      const consumptions = await Promise.all(
        [0, 1].map((index) =>
          broker.consume({
            queue: corner.queue,
            prefetch: 5,
            onMessage(delivery) {
              perConsumption[index] = (perConsumption[index] ?? 0) + 1;
              delivery.ack();
              onMessage(delivery);
            },
          }),
        ),
      );
      await broker.publish(messagesTo(corner, 200), patient);
      await complete;
      await Promise.all(consumptions.map((consumption) => consumption.stop(5000)));
      expect(new Set(taken.map(idOf)).size).toBe(200);
      expect(Math.min(...perConsumption)).toBeGreaterThan(0);
    });

    test('stopping waits for what is in flight: nothing is lost or handed out twice', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish(messagesTo(corner, 300), patient);
      const { taken, onMessage, complete } = collector(20);
      const consumption = await broker.consume({ queue: corner.queue, prefetch: 20, onMessage });
      await complete;
      const stopping = consumption.stop(5000);
      // Longer than RabbitMQ takes to answer the cancel: a stop that does not wait would be over by now.
      for (let trip = 0; trip < 3; trip++) await makeCorner(broker);
      ackAll(taken);
      await stopping;
      const rest = await drain(broker, corner, 280);
      const all = [...taken.map(idOf), ...rest];
      expect(all.length).toBe(300);
      expect(new Set(all).size).toBe(300);
    });

    test('what is not settled when the grace is over goes back to the queue', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish(messagesTo(corner, 2), patient);
      const { taken, onMessage, complete } = collector(2);
      const consumption = await broker.consume({ queue: corner.queue, prefetch: 2, onMessage });
      await complete;
      taken[0]?.ack();
      await consumption.stop(1);
      taken[1]?.ack();
      expect(await drain(broker, corner, 1)).toEqual(['m1']);
    });

    test('a stop does not count as an end; deleting the queue does', async () => {
      const { broker, place } = await start();
      const corner = await makeCorner(broker);
      const consume = (): Promise<Consumption> =>
        broker.consume({ queue: corner.queue, prefetch: 1, onMessage: () => {} });
      const [stopped, cancelled] = await Promise.all([consume(), consume()]);
      let hasEnded = false;
      void stopped.ended.then(() => (hasEnded = true));
      await stopped.stop(1000);
      await place.deleteQueue(corner.queue);
      await before('the end', cancelled.ended);
      expect(hasEnded).toBe(false);
      await cancelled.stop(1000);
    });

    test('a queue that does not exist is a problem, and costs nobody else', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const stray = broker.consume({ queue: 'nowhere', prefetch: 1, onMessage: () => {} });
      await expect(stray).rejects.toMatchObject({ kind: 'not-found' });
      expect(await broker.publish([messageTo(corner, 'a')], patient)).toEqual(['confirmed']);
      expect(await drain(broker, corner, 1)).toEqual(['a']);
    });
  });

  describe('provisioning', () => {
    test('the same topology twice is fine; other arguments are a conflict that harms nobody', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const other = (queue: string, limit: number) =>
        broker.provision({
          exchanges: [{ name: corner.exchange, type: 'topic' }],
          queues: [
            { name: corner.queue, arguments: { 'x-queue-type': 'quorum', 'x-max-length': limit } },
            { name: queue, arguments: { 'x-queue-type': 'quorum' } },
          ],
          bindings: [{ exchange: corner.exchange, queue, bindingKey: 'a.#' }],
        });
      const second = `${corner.queue}.second`;
      await expect(other(second, 5)).rejects.toMatchObject({
        kind: 'conflict',
        message: expect.stringContaining(corner.queue) as unknown,
      });
      // What was not refused is declared all the same.
      expect(await broker.publish([messageTo(corner, 'a')], patient)).toEqual(['confirmed']);
      expect(await drain(broker, { ...corner, queue: second }, 1)).toEqual(['a']);
    });
  });

  describe('closing', () => {
    test('twice is fine; afterwards nothing can be published', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await Promise.all([broker.close(), broker.close()]);
      await broker.close();
      expect(broker.state).toBe('disconnected');
      expect(await broker.publish([messageTo(corner, 'late')], patient)).toEqual(['unknown']);
      await expect(broker.publishFast([messageTo(corner, 'late')])).rejects.toMatchObject({
        kind: 'broker-unavailable',
      });
    });

    test('waits for the confirms of what is in flight', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const publishing = broker.publish(messagesTo(corner, 500), patient);
      await broker.close();
      expect(new Set(await publishing)).toEqual(new Set(['confirmed']));
    });

    test('before it ever connected ends it', async () => {
      const place = await openPlace();
      const broker = place.connect();
      await before('the close', broker.close());
      expect(broker.state).toBe('disconnected');
    });
  });
}
