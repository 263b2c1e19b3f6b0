/**
 * An outbound message as amqplib wants it, and the check that nothing in it can harm others: RabbitMQ answers a frame
 * it cannot take by closing the channel, which makes every message in flight on it unknown.
 */
import type { Options } from 'amqplib';
import type { AmqpProperties, OutboundMessage } from '../message/amqp-message.ts';
import { Problem } from '../problem.ts';
import type { Fault } from '../problem.ts';

/** A short string of AMQP 0-9-1 has one length byte. */
const maxShortStringBytes = 255;
/** RabbitMQ 4's default `max_message_size`; larger messages close the channel. */
const maxBodyBytes = 16 * 1024 * 1024;
/** amqplib encodes all properties into a buffer of 64 KiB, and RabbitMQ wants them in one frame. */
const maxHeadersBytes = 60 * 1024;

/**
 * @throws Problem `invalid-request` with one fault per message that cannot be sent; its `at` is the JSON pointer of
 * the field, such as `/3/routingKey`. Nothing has been written then.
 */
export function assertPublishable(messages: readonly OutboundMessage[]): void {
  const faults = messages.flatMap((message, index) => {
    const fault = faultOf(message);
    return fault ? [{ at: `/${index}${fault.at}`, detail: fault.detail }] : [];
  });
  if (faults.length > 0) {
    throw new Problem(
      'invalid-request',
      `${faults.length} of ${messages.length} messages cannot be sent by AMQP.`,
      {
        faults,
      },
    );
  }
}

function faultOf(message: OutboundMessage): Fault | undefined {
  const { properties } = message;
  const shortStrings = {
    exchange: message.exchange,
    routingKey: message.routingKey,
    messageId: properties.messageId,
    type: properties.type,
    contentType: properties.contentType,
    appId: properties.appId,
  };
  for (const [name, value] of Object.entries(shortStrings)) {
    if (value !== undefined && isTooLong(value)) {
      return { at: `/${name}`, detail: `${name} is longer than ${maxShortStringBytes} bytes: shorten it.` };
    }
  }
  if (message.body.length > maxBodyBytes) {
    return {
      at: '/body',
      detail: `The body is larger than ${maxBodyBytes} bytes: send a reference instead.`,
    };
  }
  if (properties.timestamp !== undefined && !isTimestamp(properties.timestamp)) {
    return { at: '/timestamp', detail: 'The timestamp is whole Unix seconds.' };
  }
  return headerFault(properties.headers);
}

function headerFault(headers: AmqpProperties['headers']): Fault | undefined {
  let totalBytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    const at = `/headers/${name.slice(0, maxShortStringBytes)}`;
    if (isTooLong(name)) return { at, detail: `A header name is longer than ${maxShortStringBytes} bytes.` };
    // RabbitMQ routes by CC and BCC ("Sender-selected Distribution"), and closes the channel if they are no lists.
    if (/^b?cc$/i.test(name))
      return { at, detail: `A header named ${name} would steer RabbitMQ: rename it.` };
    if (typeof value === 'number' && !isEncodable(value))
      return { at, detail: 'A number header must be finite.' };
    totalBytes += Buffer.byteLength(name) + 6 + (typeof value === 'string' ? Buffer.byteLength(value) : 8);
  }
  if (totalBytes <= maxHeadersBytes) return undefined;
  return { at: '/headers', detail: `The headers are larger than ${maxHeadersBytes} bytes together.` };
}

function isTooLong(text: string): boolean {
  // A UTF-16 unit is at most 3 bytes of UTF-8: most strings need no counting.
  return text.length * 3 > maxShortStringBytes && Buffer.byteLength(text) > maxShortStringBytes;
}

function isTimestamp(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** amqplib sends numbers from 2^50 on as 64-bit integers, which must be whole. */
function isEncodable(value: number): boolean {
  return Math.abs(value) < 2 ** 50 || Number.isSafeInteger(value);
}

/** @param correlationId comes back with a `basic.return`; the message's id may be in flight twice */
export function publishOptions(properties: AmqpProperties, correlationId?: string): Options.Publish {
  return {
    mandatory: true,
    deliveryMode: 2,
    ...properties,
    ...(correlationId === undefined ? {} : { correlationId }),
  };
}

/** The same bytes, not copied: amqplib takes a Buffer only. */
export function bufferOf(body: Uint8Array): Buffer {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}
