/** A delivery as Setway makes it, for the unit tests of a consumer's webhook. */
import { Buffer } from 'node:buffer';
import { mintMessageId } from '../identifier.ts';
import { signWebhook } from '../webhook/signature.ts';

export interface TestDelivery {
  /** The subscription's secret (`whsec_…`), as the webhook has it. */
  readonly secret: string;
  /** JSON for anything but bytes. */
  readonly body: unknown;
  readonly topic?: string;
  readonly tag?: string;
  readonly key?: string;
  /** The same id again is a copy of the same message. */
  readonly id?: string;
  /** 1 by default. */
  readonly attempt?: number;
  readonly delivery?: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly url?: string;
  /** Unix milliseconds; a signature is valid for five minutes. */
  readonly signedAtMs?: number;
}

/**
 * @example
 * const response = await POST(signedRequest({ secret, topic: 'orders', body: { orderId: 'o-1' } }));
 * expect(response.status).toBe(200);
 */
export function signedRequest(delivery: TestDelivery): Request {
  const { secret, body, signedAtMs = Date.now(), url = 'https://consumer.example/webhook' } = delivery;
  const { id = mintMessageId({ setNumber: 1, shard: 0 }, signedAtMs) } = delivery;
  const bytes = body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
  const timestampSeconds = Math.floor(signedAtMs / 1000);
  return new Request(url, {
    method: 'POST',
    body: bytes,
    headers: {
      'content-type': delivery.contentType ?? 'application/json',
      'setway-topic': delivery.topic ?? 'test',
      'setway-attempt': String(delivery.attempt ?? 1),
      ...(delivery.tag === undefined ? {} : { 'setway-tag': delivery.tag }),
      ...(delivery.key === undefined ? {} : { 'setway-key': delivery.key }),
      ...(delivery.delivery === undefined ? {} : { 'setway-delivery': delivery.delivery }),
      ...signWebhook(bytes, { id, timestampSeconds, secrets: [secret] }),
      ...delivery.headers,
    },
  });
}
