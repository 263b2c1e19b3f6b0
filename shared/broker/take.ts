/**
 * Taking some messages out of queues at once, on channels that live no longer than the work with them: what is not settled
 * when it ends, however it ends, goes back to its queue.
 *
 * All queues are looked at first, side by side, so that an empty one costs no more than that. Bodies are bounded by
 * bytes, which no prefetch knows: the first burst is small, the next ones are as large as its largest body allows, and
 * what is too much goes back.
 */
import type { Channel, ChannelModel } from 'amqplib';
import { toBrokerProblem } from './amqp-problem.ts';
import type { InboundDelivery, TakeOptions } from './broker.ts';
import { takeBurst, type Taken } from './burst.ts';
import { toInbound } from './inbound.ts';

/** Of bodies that nobody has seen yet. */
const firstBurst = 16;
/** Bodies that are small now may be followed by large ones. */
const largestBurst = 100;

/**
 * @param options the queues in the order of preference; one that is not there counts as empty
 * @throws Problem `broker-unavailable`; whatever `work` throws
 */
export async function takeSome<T>(
  model: ChannelModel,
  options: TakeOptions,
  work: (deliveries: readonly InboundDelivery[]) => Promise<T>,
): Promise<T> {
  const opened: Channel[] = [];
  try {
    const sources = await Promise.all(options.queues.map((queue) => openSource(model, queue, opened)));
    const taken: InboundDelivery[] = [];
    const hold: Hold = { options, taken, bytes: 0, largestBytes: 0 };
    for (const source of sources) await takeFrom(source, hold);
    try {
      return await work(taken);
    } finally {
      for (const { settlements } of sources) settle(settlements);
    }
  } finally {
    await Promise.all(opened.map((channel) => close(channel)));
  }
}

/** What the work decided, sent when it ends. */
interface Settlement {
  readonly channel: Channel;
  readonly message: Taken;
  how?: 'ack' | 'requeue' | 'reject';
}

/**
 * Acks are one frame if they can: of many a quorum queue may still owe some to its log when the channel closes (it sends
 * 32 ahead), and hands those messages out again.
 */
function settle(settlements: readonly Settlement[]): void {
  const isWhole = settlements.every(({ how }) => how !== undefined);
  try {
    for (const { channel, message, how } of settlements) {
      if (how === 'ack' && !isWhole) channel.ack(message);
      if (how === 'requeue' || how === 'reject') channel.reject(message, how === 'requeue');
    }
    if (isWhole && settlements.some(({ how }) => how === 'ack')) settlements[0]?.channel.ackAll();
  } catch {
    // The channel just died: RabbitMQ hands the messages out again, which at-least-once allows.
  }
}

interface Source {
  readonly channel: Channel;
  readonly queue: string;
  readonly ready: number;
  /** Of what was taken from it. */
  readonly settlements: Settlement[];
}

/** @param opened gets the channel as soon as there is one, to be closed whatever happens next */
async function openSource(model: ChannelModel, queue: string, opened: Channel[]): Promise<Source> {
  const channel = await open(model);
  opened.push(channel);
  try {
    const { messageCount } = await channel.checkQueue(queue);
    return { channel, queue, ready: messageCount, settlements: [] };
  } catch (error) {
    // Asking for a queue that is not there costs the channel (404), and is no failure.
    unlessMissing(error);
    return { channel, queue, ready: 0, settlements: [] };
  }
}

/** What one take has got so far. */
interface Hold {
  readonly options: TakeOptions;
  readonly taken: InboundDelivery[];
  bytes: number;
  largestBytes: number;
}

async function takeFrom({ channel, queue, ready, settlements }: Source, hold: Hold): Promise<void> {
  let left = ready;
  while (left > 0) {
    const want = Math.min(left, roomIn(hold));
    if (want <= 0) return;
    const burst = await takeBurst(channel, queue, want).catch(unlessMissing);
    for (const message of burst) settlements.push(keep(channel, message, hold));
    // Others took the rest.
    left = burst.length < want ? 0 : left - want;
  }
}

/** Messages that may be asked for at once. */
function roomIn({ options, taken, bytes, largestBytes }: Hold): number {
  const messages = options.max - taken.length;
  if (messages <= 0 || bytes >= options.maxBytes) return 0;
  if (taken.length === 0) return Math.min(messages, firstBurst);
  const fitting = Math.ceil((options.maxBytes - bytes) / Math.max(1, largestBytes));
  return Math.min(messages, fitting, largestBurst);
}

function keep(channel: Channel, message: Taken, hold: Hold): Settlement {
  // Too much: it is not waited for.
  if (hold.bytes >= hold.options.maxBytes) return { channel, message, how: 'requeue' };
  const settlement: Settlement = { channel, message };
  hold.taken.push(deliveryOf(settlement));
  hold.bytes += message.content.length;
  hold.largestBytes = Math.max(hold.largestBytes, message.content.length);
  return settlement;
}

async function open(model: ChannelModel): Promise<Channel> {
  try {
    const channel = await model.createChannel();
    // What closes it is told by the call as well.
    channel.on('error', () => undefined);
    return channel;
  } catch (error) {
    throw toBrokerProblem(error, 'take messages');
  }
}

/** @throws Problem, but for a queue that is not there */
function unlessMissing(error: unknown): readonly [] {
  const problem = toBrokerProblem(error, 'take messages');
  if (problem.kind === 'not-found') return [];
  throw problem;
}

function deliveryOf(settlement: Settlement): InboundDelivery {
  const once = (how: Settlement['how'] & string) => (): void => void (settlement.how ??= how);
  return {
    message: toInbound(settlement.message),
    ack: once('ack'),
    requeue: once('requeue'),
    reject: once('reject'),
  };
}

/** Acks are sent before: frames of a channel keep their order. One that is gone already has given back what it had. */
async function close(channel: Channel): Promise<void> {
  await Promise.resolve()
    .then(() => channel.close())
    .catch(() => undefined);
}
