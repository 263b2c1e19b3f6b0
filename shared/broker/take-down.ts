/**
 * Takes down parts of a topology. Each step has a channel of its own, because a refusal closes it.
 *
 * Quorum queues know no `if-empty` and `if-unused` (RabbitMQ: Quorum Queues, Feature Matrix), so a queue is looked at and
 * then deleted. Nothing gets in between who unbound it before: a queue without bindings gets no more messages.
 */
import type { Channel, ChannelModel, ConfirmChannel, Options } from 'amqplib';
import type { Problem } from '../problem.ts';
import { toBrokerProblem } from './amqp-problem.ts';
import type { TakeDown } from './broker.ts';
import { takeBurst, type Taken } from './burst.ts';

/** Messages under way between two queues. */
const moveSize = 200;

/** @param live the connection, or a Problem that says what was to be done */
export function createTakeDown(live: (doing: string) => ChannelModel): TakeDown {
  return {
    async unbind(bindings) {
      for (const { queue, exchange, bindingKey } of bindings) {
        const doing = `unbind the queue "${queue}" from the exchange "${exchange}"`;
        await onChannel(live(doing), doing, (channel) =>
          channel.unbindQueue(queue, exchange, bindingKey),
        ).catch(unlessGone);
      }
    },
    async removeQueue(name, state) {
      const doing = `delete the queue "${name}"`;
      const remove = onChannel(live(doing), doing, async (channel) => {
        if (state === 'any') return channel.deleteQueue(name);
        const { messageCount, consumerCount } = await channel.checkQueue(name);
        return messageCount + consumerCount === 0 ? channel.deleteQueue(name) : 'in use';
      });
      return endOf(remove);
    },
    async move(from, to, maxMessages) {
      const doing = `move messages from "${from}" to "${to}"`;
      const channel = await live(doing).createConfirmChannel();
      channel.on('error', () => undefined); // what closes it is told by the call as well
      try {
        return await moveAll(channel, { from, to, maxMessages });
      } catch (error) {
        throw toBrokerProblem(error, doing);
      } finally {
        await channel.close().catch(() => undefined);
      }
    },
  };
}

/** Deletes those that nothing is bound to; the others stay. */
export async function removeExchanges(model: ChannelModel, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const remove = onChannel(model, `delete the exchange "${name}"`, (channel) =>
      channel.deleteExchange(name, { ifUnused: true }),
    );
    await endOf(remove);
  }
}

async function onChannel<T>(
  model: ChannelModel,
  doing: string,
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  try {
    const channel = await model.createChannel();
    channel.on('error', () => undefined);
    const result = await work(channel);
    await channel.close();
    return result;
  } catch (error) {
    throw toBrokerProblem(error, doing);
  }
}

async function endOf(removal: Promise<unknown>): Promise<'gone' | 'in use'> {
  try {
    return (await removal) === 'in use' ? 'in use' : 'gone';
  } catch (error) {
    const { kind } = error as Problem;
    if (kind === 'not-found') return 'gone';
    if (kind === 'conflict') return 'in use';
    throw error;
  }
}

function unlessGone(error: unknown): void {
  if ((error as Problem).kind !== 'not-found') throw error;
}

interface Move {
  readonly from: string;
  readonly to: string;
  readonly maxMessages: number;
}

async function moveAll(channel: ConfirmChannel, { from, to, maxMessages }: Move): Promise<number> {
  let moved = 0;
  // Said before the confirm: then nothing of it may be acked.
  let isReturned = false;
  channel.on('return', () => (isReturned = true));
  while (moved < maxMessages && !isReturned) {
    const want = Math.min(moveSize, maxMessages - moved);
    const taken = await takeBurst(channel, from, want);
    const confirmed = await Promise.all(taken.map((message) => publishTo(channel, to, message)));
    const isSafe = (index: number): boolean => confirmed[index] === true && !isReturned;
    const safe = taken.filter((_, index) => isSafe(index)).length;
    // One frame: of many a quorum queue may still owe some to its log when the channel closes, and hands those out again.
    if (safe === taken.length && safe > 0) channel.ackAll();
    else taken.forEach((message, index) => (isSafe(index) ? channel.ack(message) : channel.nack(message)));
    moved += safe;
    if (taken.length < want || safe < taken.length) break;
  }
  return moved;
}

/** As it is, but for what would route it elsewhere (CC, BCC) or be refused from another user. */
function publishTo(channel: ConfirmChannel, queue: string, message: Taken): Promise<boolean> {
  const { userId: _userId, ...properties } = message.properties as Options.Publish & { userId?: string };
  const dropped = ['CC', 'BCC', 'x-delivery-count'];
  const given = Object.entries((properties.headers ?? {}) as Readonly<Record<string, unknown>>);
  const headers = Object.fromEntries(given.filter(([name]) => !dropped.includes(name)));
  const options: Options.Publish = { ...properties, headers, persistent: true, mandatory: true };
  return new Promise((resolve) => {
    channel.publish('', queue, message.content, options, (error: unknown) => resolve(!error));
  });
}
