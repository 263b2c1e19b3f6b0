/** Several messages in one call: each goes through guard and handler as if it had come alone. */
import { arrayType, decodeArray, type FailedItem } from '../message/array.ts';
import { toWebhookMessage, type WebhookMessage } from './webhook-message.ts';

/** The messages of an array; undefined when this is one message. */
export function arrayItems({ bytes, contentType, headers, subscription }: WebhookMessage) {
  if (contentType.split(';')[0]?.trim().toLowerCase() !== arrayType) return undefined;
  return decodeArray(bytes)?.map((item) => {
    const own = new Headers(headers);
    own.delete('setway-size');
    own.set('webhook-id', item.id);
    for (const [name, value] of Object.entries(item.headers)) own.set(name, value);
    return toWebhookMessage(subscription, own, item.bytes);
  });
}

/** One after the other, in their order. Never rejects for one of them: the others are done all the same. */
export async function runArray(
  items: readonly WebhookMessage[],
  run: (message: WebhookMessage) => Promise<Response>,
): Promise<Response> {
  const failed: object[] = [];
  for (const item of items) {
    const answer = await run(item);
    if (!answer.ok) failed.push(toldOf(item.id, answer));
  }
  return Response.json({ failed });
}

/** As the sender reads it: `FailedItem`, with whole seconds. */
function toldOf(id: string, { headers, status }: Response): object {
  const said: Pick<FailedItem, 'id' | 'error'> = { id, error: `HTTP ${status}` };
  const retryAfter = headers.get('retry-after');
  const isFinal = headers.get('setway-non-retryable') === '1';
  return {
    ...said,
    ...(retryAfter === null ? {} : { retryAfter: Number(retryAfter) }),
    ...(isFinal ? { nonRetryable: true } : {}),
  };
}
