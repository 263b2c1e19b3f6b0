/**
 * A delivery as Setway sends it, signed by an independent implementation of Standard Webhooks. That one decodes bytes to
 * text before it signs them, so bytes that are not UTF-8 are signed by our own.
 */
import { Webhook } from 'standardwebhooks';
import { signWebhook } from '../../shared/webhook/signature.ts';

export const secret = `whsec_${Buffer.from('a secret of more than 24 bytes!!').toString('base64')}`;

export interface Delivery {
  readonly id: string;
  readonly body: string | Buffer<ArrayBuffer>;
  readonly signedAt?: Date;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signedWith?: string;
}

export function signedRequest(delivery: Delivery): Request {
  const { body, headers } = delivery;
  const signature = typeof body === 'string' ? signText(delivery, body) : signBytes(delivery, body);
  return new Request('https://consumer.example/hook', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'setway-topic': 'orders', ...signature, ...headers },
  });
}

function signText({ id, signedAt = new Date(), signedWith = secret }: Delivery, text: string) {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(secondsOf(signedAt)),
    'webhook-signature': new Webhook(signedWith).sign(id, signedAt, text),
  };
}

function signBytes({ id, signedAt = new Date(), signedWith = secret }: Delivery, bytes: Uint8Array) {
  return { ...signWebhook(bytes, { id, timestampSeconds: secondsOf(signedAt), secrets: [signedWith] }) };
}

function secondsOf(at: Date): number {
  return Math.floor(at.getTime() / 1000);
}

export function newMessageId(): string {
  return `msg_${crypto.randomUUID()}`;
}
