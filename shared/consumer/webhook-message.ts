/** A delivery as the handler sees it. */
import { hash } from 'node:crypto';
import { batchType, decodeBatch, type BatchItem } from '../message/batch.ts';
import { NonRetryable } from './non-retryable.ts';

export interface WebhookMessage {
  /** The message's id, the same in every retry. Signed, unlike the fields from the `setway-` headers. */
  readonly id: string;
  /** The consumer group this handler serves. */
  readonly subscription: string;
  /** Empty when the sender is not Setway. */
  readonly topic: string;
  readonly tag: string | null;
  readonly key: string | null;
  /** The SET that delivers it. */
  readonly set: string | null;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Names this try: what to say `done`, `failed` or `extend` of when it is answered later. Empty when the sender is not Setway. */
  readonly delivery: string;
  /** W3C trace context. */
  readonly traceparent: string | null;
  /** The session and the number of items, when it is a batch. */
  readonly batch: { readonly session: string; readonly size: number } | null;
  readonly contentType: string;
  /** Every header field of the request. */
  readonly headers: Headers;
  readonly bytes: Uint8Array;
  /** SHA-256 of the bytes in lower-case hex. */
  readonly fingerprint: string;
  /** @throws NonRetryable when the bytes are not UTF-8 */
  text(): string;
  /** @throws NonRetryable when the bytes are not JSON in UTF-8 */
  json(): unknown;
  /**
   * The items of a batch, in their order.
   * @throws NonRetryable when it is none
   * @example for (const item of message.items()) await save(item.id, item.json());
   */
  items(): readonly WebhookItem[];
}

/** One item of a batch. */
export interface WebhookItem extends BatchItem {
  /** @throws NonRetryable when the bytes are not UTF-8 */
  text(): string;
  /** @throws NonRetryable when the bytes are not JSON in UTF-8 */
  json(): unknown;
}

/** The message in a request whose signature is verified. */
export function toWebhookMessage(subscription: string, headers: Headers, bytes: Uint8Array): WebhookMessage {
  const text = () => decode(bytes);
  return {
    id: headers.get('webhook-id') ?? '',
    subscription,
    topic: headers.get('setway-topic') ?? '',
    tag: headers.get('setway-tag'),
    key: headers.get('setway-key'),
    set: headers.get('setway-set'),
    attempt: Number(headers.get('setway-attempt')) || 1,
    delivery: headers.get('setway-delivery') ?? '',
    traceparent: headers.get('traceparent'),
    batch: batchOf(headers),
    contentType: headers.get('content-type') ?? 'application/octet-stream',
    headers,
    bytes,
    fingerprint: hash('sha256', bytes),
    text,
    json: () => parse(text()),
    items: () => itemsOf(headers, bytes),
  };
}

function isBatch(headers: Headers): boolean {
  return headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === batchType;
}

function batchOf(headers: Headers): WebhookMessage['batch'] {
  if (!isBatch(headers)) return null;
  return { session: headers.get('setway-session') ?? '', size: Number(headers.get('setway-size')) };
}

function itemsOf(headers: Headers, bytes: Uint8Array): readonly WebhookItem[] {
  if (!isBatch(headers)) throw new NonRetryable(`Only a message of type ${batchType} has items.`);
  try {
    return decodeBatch(bytes).map((item) => {
      const text = () => decode(item.bytes);
      return { ...item, text, json: () => parse(text()) };
    });
  } catch (error) {
    throw new NonRetryable('The body is not a batch.', { cause: error });
  }
}

/** `fatal`: a lenient decoder would put U+FFFD in place of what it cannot read. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (error) {
    throw new NonRetryable('The body is not valid UTF-8.', { cause: error });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new NonRetryable('The body is not valid JSON.', { cause: error });
  }
}
