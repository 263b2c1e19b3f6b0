/** A message amqplib hands over, as the contract knows it. */
import type { ConsumeMessage, GetMessage } from 'amqplib';
import type { AmqpProperties, InboundMessage } from '../message/amqp-message.ts';

export function toInbound({ content, fields, properties }: ConsumeMessage | GetMessage): InboundMessage {
  return {
    body: content,
    routingKey: fields.routingKey,
    redelivered: fields.redelivered,
    ...(isCopy(properties.headers?.['x-received-from']) ? { isCopy: true as const } : {}),
    properties: {
      ...text('messageId', properties.messageId),
      ...text('type', properties.type),
      ...text('contentType', properties.contentType),
      ...text('appId', properties.appId),
      ...(typeof properties.timestamp === 'number' ? { timestamp: properties.timestamp } : {}),
      headers: plainHeaders(properties.headers ?? {}),
    },
  };
}

/**
 * A federated exchange notes each exchange a copy came from. A federated queue notes queues: what passes one is moved, and
 * there is no other of it.
 */
function isCopy(receivedFrom: unknown): boolean {
  return (
    Array.isArray(receivedFrom) &&
    receivedFrom.some((hop: unknown) => Object(hop) === hop && 'exchange' in (hop as object))
  );
}

function text<Name extends string>(name: Name, value: unknown): { readonly [key in Name]?: string } {
  return typeof value === 'string' ? ({ [name]: value } as { readonly [key in Name]: string }) : {};
}

/** Native clients may send any field table: texts and numbers stay, booleans become text, tables and lists go. */
function plainHeaders(table: Readonly<Record<string, unknown>>): AmqpProperties['headers'] {
  const plain = Object.entries(table).flatMap(([name, value]): [string, string | number][] => {
    if (typeof value === 'string' || typeof value === 'number') return [[name, value]];
    return typeof value === 'boolean' ? [[name, String(value)]] : [];
  });
  return Object.fromEntries(plain);
}
