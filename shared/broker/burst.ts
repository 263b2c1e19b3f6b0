/**
 * Several messages of a queue at once, by a consumption that lives as long as it takes to get them. One by one (basic.get)
 * each would cost a round trip, and of a quorum queue a write to its log.
 *
 * A consumption does not say that a queue is empty, so the queue is asked meanwhile: what it handed out before its answer
 * stands before the answer to the next question, since a channel keeps its order. Two answers without a message
 * between them say that no more comes.
 */
import type { Channel, ConsumeMessage, GetMessage } from 'amqplib';

export type Taken = ConsumeMessage | GetMessage;

/**
 * @param want 1–65535
 * @returns what was ready of so many, in the queue's order, not acked
 * @throws what amqplib says when the queue is not there, or the channel is lost: then nothing is held
 */
export async function takeBurst(channel: Channel, queue: string, want: number): Promise<readonly Taken[]> {
  // For one, a round trip is all it costs.
  if (want === 1) return channel.get(queue).then((message) => (message === false ? [] : [message]));
  const taken: ConsumeMessage[] = [];
  let fill = (): void => undefined;
  const full = new Promise<void>((resolve) => (fill = resolve));
  const onMessage = (message: ConsumeMessage | null): void => {
    if (message !== null) taken.push(message);
    if (taken.length >= want) fill();
  };
  // Sent together: a channel answers in order.
  const [, { consumerTag }] = await Promise.all([channel.prefetch(want), channel.consume(queue, onMessage)]);
  await Promise.race([full, untilQuiet(channel, queue, () => want - taken.length)]);
  await channel.cancel(consumerTag);
  return taken;
}

async function untilQuiet(channel: Channel, queue: string, missing: () => number): Promise<void> {
  for (;;) {
    const before = missing();
    if (before <= 0) return;
    await channel.checkQueue(queue);
    await channel.checkQueue(queue);
    if (missing() === before) return;
  }
}
