import type { ChannelModel } from 'amqplib';

/**
 * Messages ready in each queue, those handed out and not acked left out. A queue that is not there is left out: asking
 * for one costs the channel (404).
 */
export async function readDepths(
  model: ChannelModel,
  queues: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const depths = new Map<string, number>();
  await Promise.all(
    queues.map(async (queue) => {
      const depth = await depthOf(model, queue).catch(() => undefined);
      if (depth !== undefined) depths.set(queue, depth);
    }),
  );
  return depths;
}

async function depthOf(model: ChannelModel, queue: string): Promise<number> {
  const channel = await model.createChannel();
  // What closes it is told by the call as well.
  channel.on('error', () => undefined);
  const { messageCount } = await channel.checkQueue(queue);
  await channel.close();
  return messageCount;
}
