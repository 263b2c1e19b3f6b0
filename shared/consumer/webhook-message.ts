/** A delivery as the handler sees it. */
import { createHash } from 'node:crypto';
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
  /** W3C trace context. */
  readonly traceparent: string | null;
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
    traceparent: headers.get('traceparent'),
    contentType: headers.get('content-type') ?? 'application/octet-stream',
    headers,
    bytes,
    fingerprint: createHash('sha256').update(bytes).digest('hex'),
    text,
    json: () => parse(text()),
  };
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
