/** The items of a sequence as one webhook call. */
import { Buffer } from 'node:buffer';
import { isJsonType } from '../message/draft.ts';
import type { Message } from '../message/message.ts';

/**
 * One message whose body is a JSON array: per item its id, sequence number, content type, and `body` (JSON as it is) or
 * `bodyBase64`. It has the id of the first item, so that every try of the same items is the same message.
 */
export function togetherOf(messages: readonly [Message, ...Message[]]): Message {
  const [first] = messages;
  const { order, headers: _headers, ...shared } = first;
  const batch =
    order?.kind === 'sequence' ? { batch: { session: order.session, size: messages.length } } : {};
  return {
    ...shared,
    ...batch,
    headers: {},
    contentType: 'application/json',
    body: Buffer.from(`[${messages.map(itemOf).join(',')}]`),
  };
}

function itemOf({ id, order, contentType, body }: Message): string {
  const sequence = order?.kind === 'sequence' ? order.sequence : undefined;
  const head = JSON.stringify({ id, sequence, contentType }).slice(0, -1);
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  // JSON was checked when it was accepted as JSON; what came as raw bytes may be anything.
  const json = isJsonType(contentType) ? jsonOf(bytes) : undefined;
  return json === undefined
    ? `${head},"bodyBase64":"${bytes.toString('base64')}"}`
    : `${head},"body":${json}}`;
}

function jsonOf(bytes: Buffer): string | undefined {
  try {
    const text = bytes.toString();
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}
