/**
 * Taking some messages out of queues at once (basic.get), on a channel that lives no longer than the work with them:
 * what is not settled when it ends, however it ends, goes back to its queue.
 *
 * `basic.get` costs a round trip per message. It is for consumers that ask now and then, and for those it says what a
 * consumption cannot: that a queue is empty.
 */
import type { Channel, ChannelModel, GetMessage } from 'amqplib';
import { toBrokerProblem } from './amqp-problem.ts';
import type { InboundDelivery, TakeOptions } from './broker.ts';
import { toInbound } from './inbound.ts';

/**
 * @param queues in the order of preference; one that is not there counts as empty
 * @throws Problem `broker-unavailable`; whatever `work` throws
 */
export async function takeSome<T>(
  model: ChannelModel,
  options: TakeOptions,
  work: (deliveries: readonly InboundDelivery[]) => Promise<T>,
): Promise<T> {
  const taken: InboundDelivery[] = [];
  const channels: Channel[] = [];
  try {
    let bytes = 0;
    for (const queue of options.queues) {
      if (taken.length >= options.max || bytes >= options.maxBytes) break;
      const channel = await open(model);
      channels.push(channel);
      while (taken.length < options.max && bytes < options.maxBytes) {
        const message = await channel.get(queue).catch(isMissing);
        if (message === false) break;
        taken.push(deliveryOf(channel, message));
        bytes += message.content.length;
      }
    }
    return await work(taken);
  } finally {
    await Promise.all(channels.map((channel) => close(channel)));
  }
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

/** Asking for a queue that is not there costs the channel (404), and is no failure. */
function isMissing(error: unknown): false {
  const problem = toBrokerProblem(error, 'take messages');
  if (problem.kind === 'not-found') return false;
  throw problem;
}

function deliveryOf(channel: Channel, message: GetMessage): InboundDelivery {
  let isSettled = false;
  const settleOnce = (send: () => void) => (): void => {
    if (isSettled) return;
    isSettled = true;
    try {
      send();
    } catch {
      // The channel just died: RabbitMQ hands the message out again, which at-least-once allows.
    }
  };
  return {
    message: toInbound(message),
    ack: settleOnce(() => channel.ack(message)),
    requeue: settleOnce(() => channel.reject(message, true)),
    reject: settleOnce(() => channel.reject(message, false)),
  };
}

/** Acks are sent before: frames of a channel keep their order. One that is gone already has given back what it had. */
async function close(channel: Channel): Promise<void> {
  await Promise.resolve()
    .then(() => channel.close())
    .catch(() => undefined);
}
