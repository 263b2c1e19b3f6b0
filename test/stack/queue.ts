/** Looks into RabbitMQ past the product. */
import { connect } from 'amqplib';

/** Messages that wait in a queue. @example await countWaiting(deployment.brokerUrls.hangzhou, 'setway.sub.mail') */
export async function countWaiting(brokerUrl: string, queue: string): Promise<number> {
  const connection = await connect(brokerUrl);
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => undefined); // the call rejects with the same
    const { messageCount } = await channel.checkQueue(queue);
    await channel.close();
    return messageCount;
  } finally {
    await connection.close();
  }
}

/** How many consume a queue. */
export async function countConsumers(brokerUrl: string, queue: string): Promise<number> {
  const connection = await connect(brokerUrl);
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => undefined); // the call rejects with the same
    const { consumerCount } = await channel.checkQueue(queue);
    await channel.close();
    return consumerCount;
  } finally {
    await connection.close();
  }
}
