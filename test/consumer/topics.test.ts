import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { topics, typed, webhookHandler, type WebhookHandler } from '../../shared/consumer/consumer.ts';
import { signedRequest } from '../../shared/consumer/testing.ts';
import { createMemoryGuard } from '../../shared/idempotency/memory-guard.ts';
import { secret } from './signed-request.ts';

const order = z.object({ orderId: z.string(), quantity: z.coerce.number().int().positive() });

function serve(handler: WebhookHandler) {
  return webhookHandler({ secrets: [secret], subscription: 'shop', guard: createMemoryGuard() }, handler);
}

describe('handlers per topic', () => {
  it('hand over the payload as its schema makes it', async () => {
    const seen: unknown[] = [];
    const POST = serve(
      topics({
        orders: typed(order, async ({ orderId, quantity }, { topic }) => {
          const twice: number = quantity * 2; // a number by its type, too
          seen.push([topic, orderId, twice]);
        }),
      }),
    );
    const body = { orderId: 'o-1', quantity: '3' };
    expect((await POST(signedRequest({ secret, topic: 'orders', body }))).status).toBe(200);
    expect(seen).toEqual([['orders', 'o-1', 6]]);
  });

  it.each([
    ['does not fit its schema', 'orders', { orderId: 1, quantity: -1 }, '/orderId'],
    ['is no JSON', 'orders', new Uint8Array([123]), 'not valid JSON'],
    ['nobody handles', 'refunds', {}, 'refunds'],
  ])('a message that %s is refused for good', async (_what, topic, body, detail) => {
    const seen: unknown[] = [];
    const POST = serve(topics({ orders: typed(order, async (payload) => void seen.push(payload)) }));
    const response = await POST(signedRequest({ secret, topic, body }));
    expect([response.status, response.headers.get('setway-non-retryable')]).toEqual([422, '1']);
    expect(await response.json()).toMatchObject({ detail: expect.stringContaining(detail) as string });
    expect(seen).toEqual([]);
  });

  it('may leave other topics to one handler, and heed no inherited name', async () => {
    const seen: string[] = [];
    const POST = serve(topics({}, async ({ topic }) => void seen.push(topic)));
    await POST(signedRequest({ secret, topic: 'toString', body: 1 }));
    expect(seen).toEqual(['toString']);
  });

  it('wait for a schema that takes its time', async () => {
    const slow = z.object({ id: z.string() }).refine(async ({ id }) => id !== 'bad', 'unknown id');
    const POST = serve(topics({ orders: typed(slow, async () => undefined) }));
    expect((await POST(signedRequest({ secret, topic: 'orders', body: { id: 'bad' } }))).status).toBe(422);
    expect((await POST(signedRequest({ secret, topic: 'orders', body: { id: 'ok' } }))).status).toBe(200);
  });
});
