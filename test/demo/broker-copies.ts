/**
 * Puts accepted messages into RabbitMQ a second time, under their ids: what happens by itself when a confirm or an ack
 * is lost, or when two SETs took one message.
 */
import { connect } from 'amqplib';
import { parseMessageId } from '../../shared/identifier.ts';
import { toOutbound } from '../../shared/message/envelope.ts';
import { bodyOf } from './orders.ts';
import type { Accepted } from './publish-orders.ts';

/** @param brokerUrls by SET */
export async function sendCopies(
  brokerUrls: Readonly<Record<string, string>>,
  messages: readonly Accepted[],
  tag: string,
): Promise<void> {
  const bySet = Object.groupBy(messages, ({ set }) => set);
  await Promise.all(
    Object.entries(bySet).map(([set, copies]) => sendTo(brokerUrls[set] ?? '', copies ?? [], tag)),
  );
}

async function sendTo(brokerUrl: string, messages: readonly Accepted[], tag: string): Promise<void> {
  const connection = await connect(brokerUrl);
  const channel = await connection.createConfirmChannel();
  for (const message of messages) {
    const { exchange, routingKey, body, properties } = outboundOf(message, tag);
    channel.publish(exchange, routingKey, Buffer.from(body), {
      ...properties,
      persistent: true,
      mandatory: true,
    });
  }
  await channel.waitForConfirms();
  await channel.close();
  await connection.close();
}

function outboundOf({ id, set, order, distanceKm }: Accepted, tag: string): ReturnType<typeof toOutbound> {
  return toOutbound({
    id: parseMessageId(id),
    owner: 'demo',
    topic: 'orders',
    tag,
    mode: 'confirm',
    body: Buffer.from(bodyOf(order)),
    contentType: 'application/json',
    headers: {},
    acceptedAtMs: Date.now(),
    placement: { set, reason: 'nearest', distanceKm },
  });
}
