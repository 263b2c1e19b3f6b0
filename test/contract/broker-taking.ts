/** What every broker must do when messages are taken, or queues taken down, on a real RabbitMQ and through its faults. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Broker, InboundDelivery } from '../../shared/broker/broker.ts';
import {
  before,
  connected,
  drain,
  idOf,
  makeCorner,
  messagesTo,
  messageTo,
  reaches,
  type BrokerPlace,
  type Corner,
} from './broker-contract.ts';

const patient = { timeoutMs: 10_000 };
const maxBytes = 1_000_000;
const names = (count: number, from = 0): string[] => Array.from({ length: count }, (_, n) => `m${from + n}`);

export function takingContract(openPlace: () => Promise<BrokerPlace>): void {
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
  /** Takes and acks. */
  const take = (
    broker: Broker,
    queues: readonly string[],
    max: number,
    bytes = maxBytes,
  ): Promise<string[]> =>
    broker.take({ queues, max, maxBytes: bytes }, async (deliveries) => {
      for (const delivery of deliveries) delivery.ack();
      return deliveries.map(idOf);
    });
  const filled = async (broker: Broker, count: number): Promise<Corner> => {
    const corner = await makeCorner(broker);
    await broker.publish(messagesTo(corner, count), patient);
    return corner;
  };
  const depthOf = async (broker: Broker, { queue }: Corner): Promise<number | undefined> =>
    (await broker.depths([queue])).get(queue);
  /** What went back is ready again a moment later. */
  const reachesDepth = async (broker: Broker, corner: Corner, wanted: number): Promise<void> => {
    if ((await depthOf(broker, corner)) !== wanted) return reachesDepth(broker, corner, wanted);
  };

  describe('taking', () => {
    test('hands over what is ready, in order and at most so much; what is acked is gone', async () => {
      const { broker } = await start();
      const corner = await filled(broker, 150);
      expect(await take(broker, [corner.queue], 1)).toEqual(['m0']);
      expect(await take(broker, [corner.queue], 120)).toEqual(names(120, 1));
      expect(await take(broker, [corner.queue], 120)).toEqual(names(29, 121));
      expect(await take(broker, [corner.queue], 120)).toEqual([]);
      expect(await depthOf(broker, corner)).toBe(0);
    });

    test('prefers the first of several queues, and goes on with the next', async () => {
      const { broker } = await start();
      const [first, second] = [await filled(broker, 3), await filled(broker, 40)];
      expect(await take(broker, [first.queue, second.queue], 20)).toEqual([...names(3), ...names(17)]);
      expect(await depthOf(broker, second)).toBe(23);
    });

    test('takes no further message once their bodies are so many bytes; the others stay ready', async () => {
      const { broker } = await start();
      // With a limit, as all of ours have, a message that goes back keeps its place.
      const corner = await makeCorner(broker, { 'x-delivery-limit': 100 });
      const large = messagesTo(corner, 30).map((each) => ({ ...each, body: new Uint8Array(100_000) }));
      await broker.publish(large, patient);
      expect(await take(broker, [corner.queue], 100, 250_000)).toEqual(names(3));
      expect((await take(broker, [corner.queue], 100, 250_000)).toSorted()).toEqual(names(3, 3));
      await before('the rest to be ready', reachesDepth(broker, corner, 24));
    });

    test('one large message is handed over, however few bytes are wanted', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      await broker.publish([{ ...messageTo(corner, 'large'), body: new Uint8Array(3_000_000) }], patient);
      expect(await take(broker, [corner.queue], 10, 1)).toEqual(['large']);
    });

    test('a queue that is not there counts as empty, and costs the others nothing', async () => {
      const { broker } = await start();
      const corner = await filled(broker, 2);
      expect(await take(broker, ['nowhere', corner.queue, 'neither'], 10)).toEqual(['m0', 'm1']);
      expect(await take(broker, ['nowhere'], 10)).toEqual([]);
    });

    test('what is not settled when the work ends, or throws, goes back', async () => {
      const { broker } = await start();
      const corner = await filled(broker, 20);
      const options = { queues: [corner.queue], max: 20, maxBytes };
      const thrown = broker.take(options, () => Promise.reject(new Error('database away')));
      await expect(thrown).rejects.toThrow('database away');
      await before('all to be ready', reachesDepth(broker, corner, 20));
      const rest = await broker.take(options, async (deliveries) => {
        deliveries.slice(0, 5).forEach((delivery) => delivery.ack());
        deliveries[5]?.requeue();
        return deliveries.slice(5).map(idOf); // what went back may come in any order
      });
      await before('the rest to be ready', reachesDepth(broker, corner, 15));
      expect((await drain(broker, corner, 15)).toSorted()).toEqual(rest.toSorted());
    });

    test('a rejected message goes to the dead-letter exchange', async () => {
      const { broker } = await start();
      const dead = await makeCorner(broker);
      const corner = await makeCorner(broker, { 'x-dead-letter-exchange': dead.exchange });
      await broker.publish([messageTo(corner, 'dead')], patient);
      await broker.take({ queues: [corner.queue], max: 5, maxBytes }, async ([delivery]) =>
        delivery?.reject(),
      );
      expect(await drain(broker, dead, 1)).toEqual(['dead']);
    });

    test('several at once never have one message together, and leave none', async () => {
      const { broker } = await start();
      const corner = await filled(broker, 300);
      const all: string[] = [];
      const taker = async (): Promise<void> => {
        while (all.length < 300) all.push(...(await take(broker, [corner.queue], 30)));
      };
      await before('all messages', Promise.all([taker(), taker(), taker(), taker()]));
      expect(all.toSorted()).toEqual(names(300).toSorted());
    });

    test('beside a consumption, what that one holds is not taken', async () => {
      const { broker } = await start();
      const corner = await filled(broker, 12);
      const held: InboundDelivery[] = [];
      const consumption = await broker.consume({
        queue: corner.queue,
        prefetch: 4,
        onMessage: (delivery) => void held.push(delivery),
      });
      await before('the others to be ready', reachesDepth(broker, corner, 8));
      expect(await take(broker, [corner.queue], 50)).toEqual(names(8, 4));
      for (const delivery of held) delivery.ack();
      await consumption.stop(5000);
    });

    test('a queue that is deleted under the work harms nobody', async () => {
      const { broker, place } = await start();
      const [corner, other] = [await filled(broker, 3), await filled(broker, 1)];
      await broker.take({ queues: [corner.queue], max: 10, maxBytes }, async (deliveries) => {
        await place.deleteQueue(corner.queue);
        for (const delivery of deliveries) delivery.ack();
      });
      expect(await take(broker, [corner.queue, other.queue], 10)).toEqual(['m0']);
    });

    test('what was taken and not acked when the connection is lost comes again, marked as redelivered', async () => {
      const { broker, place } = await start();
      const corner = await filled(broker, 40);
      await broker.take({ queues: [corner.queue], max: 40, maxBytes }, async (deliveries) => {
        expect(deliveries).toHaveLength(40);
        place.cut();
        await reaches(broker, 'disconnected');
        // Too late, and no failure.
        for (const delivery of deliveries) delivery.ack();
      });
      await connected(broker);
      await before('all to be ready', reachesDepth(broker, corner, 40));
      const marks = await broker.take({ queues: [corner.queue], max: 40, maxBytes }, async (deliveries) => {
        for (const delivery of deliveries) delivery.ack();
        return deliveries.map(({ message }) => message.redelivered);
      });
      expect(marks).toEqual(Array.from({ length: 40 }, () => true));
    });

    test('a connection that is lost while it takes is a problem, and loses nothing', async () => {
      const { broker, place } = await start();
      const corner = await filled(broker, 200);
      const work = { begun: 0 };
      const taking = Array.from({ length: 8 }, () =>
        broker.take({ queues: [corner.queue], max: 100, maxBytes }, async () => void work.begun++),
      );
      place.cut();
      for (const each of await before('the takes', Promise.allSettled(taking)))
        expect(each).toMatchObject({ status: 'rejected', reason: { kind: 'broker-unavailable' } });
      expect(work.begun).toBe(0);
      await connected(broker);
      expect((await drain(broker, corner, 200)).toSorted()).toEqual(names(200).toSorted());
    });

    test('without a connection it is a problem', async () => {
      const { broker } = await start();
      await broker.close();
      const late = broker.take({ queues: ['x'], max: 1, maxBytes }, async () => undefined);
      await expect(late).rejects.toMatchObject({ kind: 'broker-unavailable' });
    });
  });

  describe('taking down', () => {
    test('undoes bindings; what is not bound, or not there, is fine', async () => {
      const { broker } = await start();
      const corner = await makeCorner(broker);
      const binding = { ...corner, bindingKey: 'a.#' };
      await broker.takeDown.unbind([
        binding,
        { ...binding, queue: 'nowhere' },
        { ...binding, exchange: 'none' },
      ]);
      await broker.takeDown.unbind([binding]);
      expect(await broker.publish([messageTo(corner, 'x')], patient)).toEqual(['unroutable']);
    });

    test('leaves a queue in use alone, deletes a spent one, and any one when told so', async () => {
      const { broker } = await start();
      const [full, empty, heard] = [
        await filled(broker, 1),
        await makeCorner(broker),
        await makeCorner(broker),
      ];
      const consumption = await broker.consume({ queue: heard.queue, prefetch: 1, onMessage: () => {} });
      const remove = (queue: string, state: 'spent' | 'any') => broker.takeDown.removeQueue(queue, state);
      expect(await remove(full.queue, 'spent')).toBe('in use');
      expect(await remove(heard.queue, 'spent')).toBe('in use');
      await consumption.stop(1000);
      expect(await remove(empty.queue, 'spent')).toBe('gone');
      expect(await remove(empty.queue, 'spent')).toBe('gone');
      expect(await remove(full.queue, 'any')).toBe('gone');
      expect(await depthOf(broker, full)).toBeUndefined();
    });

    test('moves at most so many messages as they are, then the rest', async () => {
      const { broker } = await start();
      const [from, to] = [await filled(broker, 450), await makeCorner(broker)];
      expect(await broker.takeDown.move(from.queue, to.queue, 300)).toBe(300);
      expect(await broker.takeDown.move(from.queue, to.queue, 300)).toBe(150);
      expect(await broker.takeDown.move(from.queue, to.queue, 300)).toBe(0);
      expect(await drain(broker, to, 450)).toEqual(names(450));
      expect(await depthOf(broker, from)).toBe(0);
    });

    test('moves nothing to a queue that is not there or full, and loses nothing', async () => {
      const { broker } = await start();
      const from = await filled(broker, 30);
      const full = await makeCorner(broker, { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
      expect(await broker.takeDown.move(from.queue, 'nowhere', 100)).toBe(0);
      // One by one: a quorum queue counts what it took with a small delay.
      let outcome: string | undefined = 'confirmed';
      while (outcome === 'confirmed') [outcome] = await broker.publish([messageTo(full, 'x')], patient);
      const moved = await broker.takeDown.move(from.queue, full.queue, 100);
      await before('the rest to be ready', reachesDepth(broker, from, 30 - moved));
      expect(moved).toBe(0);
      expect((await drain(broker, from, 30)).toSorted()).toEqual(names(30).toSorted());
      await expect(broker.takeDown.move('nowhere', from.queue, 100)).rejects.toMatchObject({
        kind: 'not-found',
      });
    });

    test('a connection that is lost while it moves makes copies at most, and loses nothing', async () => {
      const { broker, place } = await start();
      const [from, to] = [await filled(broker, 2000), await makeCorner(broker)];
      const moving = broker.takeDown.move(from.queue, to.queue, 2000);
      await before('the first to be moved', reachesSome(broker, to));
      place.cut();
      await expect(before('the move', moving)).rejects.toMatchObject({ kind: 'broker-unavailable' });
      await connected(broker);
      const moveOn = async (): Promise<void> => {
        await broker.takeDown.move(from.queue, to.queue, 2000);
        if ((await depthOf(broker, from)) !== 0) return moveOn();
      };
      await before('the rest to be moved', moveOn());
      const count = (await depthOf(broker, to)) ?? 0;
      expect(count).toBeGreaterThanOrEqual(2000);
      expect(new Set(await drain(broker, to, count))).toEqual(new Set(names(2000)));
    });
  });

  async function reachesSome(broker: Broker, corner: Corner): Promise<void> {
    if (((await depthOf(broker, corner)) ?? 0) === 0) return reachesSome(broker, corner);
  }
}
