import { Hono } from 'hono';
import { afterAll, describe, expect, it } from 'vitest';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import {
  NonRetryable,
  webhookHandler,
  type WebhookFault,
  type WebhookHandler,
  type WebhookMessage,
  type WebhookOptions,
} from '../../shared/consumer/consumer.ts';
import { webhook } from '../../shared/consumer/hono.ts';
import type { Guard } from '../../shared/idempotency/guard.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { useStack } from '../stack/current-stack.ts';
import { newMessageId, secret, signedRequest } from './signed-request.ts';

const requester = upstashRequester(useStack().redisUrl);
afterAll(() => requester.close());
const guard = createRedisGuard(connectRedis({ requester }));

/** A Redis that is not there. */
const deadGuard = createRedisGuard(
  connectRedis({ url: 'http://127.0.0.1:1', token: 'none' }, { timeoutMs: 1_000 }),
);

const body = JSON.stringify({ orderId: 'o1', text: 'ü' });

/** A webhook that writes down what its handler saw and which faults were reported. */
function receiver(options: Partial<WebhookOptions> = {}, work: WebhookHandler = async () => undefined) {
  const seen: WebhookMessage[] = [];
  const faults: WebhookFault[] = [];
  const subscription = `sub-${crypto.randomUUID()}`;
  const handle: WebhookHandler = async (message, context) => {
    seen.push(message);
    return work(message, context);
  };
  const settings = {
    secrets: [secret],
    subscription,
    guard,
    onFault: (fault: WebhookFault) => faults.push(fault),
  };
  const answer = webhookHandler({ ...settings, ...options }, handle);
  return { answer, seen, faults, subscription };
}

async function problemOf(response: Response): Promise<Record<string, unknown>> {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  return (await response.json()) as Record<string, unknown>;
}

describe('verifying', () => {
  it('takes what an independent signer signed', async () => {
    const { answer, seen } = receiver();
    expect((await answer(signedRequest({ id: newMessageId(), body }))).status).toBe(200);
    expect(seen[0]?.text()).toBe(body);
  });

  it('verifies and hands over bytes, whatever they mean', async () => {
    const { answer, seen } = receiver();
    const bytes = Buffer.from([0, 255, 254, 10, 195]);
    expect((await answer(signedRequest({ id: newMessageId(), body: bytes }))).status).toBe(200);
    expect(Buffer.from(seen[0]?.bytes ?? [])).toEqual(bytes);
  });

  it('refuses a changed body, another secret, and a missing signature with 401, and runs nothing', async () => {
    const { answer, seen } = receiver();
    const good = signedRequest({ id: newMessageId(), body });
    const changed = new Request(good, { method: 'POST', body: `${body} ` });
    const other = signedRequest({
      id: newMessageId(),
      body,
      signedWith: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
    });
    const bare = new Request('https://consumer.example/hook', { method: 'POST', body });
    for (const request of [changed, other, bare]) {
      const response = await answer(request);
      expect(response.status).toBe(401);
      expect(await problemOf(response)).toMatchObject({ status: 401 });
    }
    expect(seen).toHaveLength(0);
  });

  it('refuses a replay that is six minutes old', async () => {
    const { answer, seen } = receiver();
    const signedAt = new Date(Date.now() - 6 * 60_000);
    expect((await answer(signedRequest({ id: newMessageId(), body, signedAt }))).status).toBe(401);
    expect(seen).toHaveLength(0);
  });

  it('takes both secrets during a rotation', async () => {
    const next = `whsec_${Buffer.alloc(32, 2).toString('base64')}`;
    const { answer } = receiver({ secrets: [next, secret] });
    expect((await answer(signedRequest({ id: newMessageId(), body }))).status).toBe(200);
    expect((await answer(signedRequest({ id: newMessageId(), body, signedWith: next }))).status).toBe(200);
  });

  it('says at once that a secret is missing or none', () => {
    expect(() => receiver({ secrets: [] })).toThrow(/signing secrets/);
    expect(() => receiver({ secrets: ['hunter2'] })).toThrow(/signing secrets/);
  });

  it('refuses a body above the limit, whatever its length says, and a method without one', async () => {
    const { answer, seen } = receiver({ maxBodyBytes: 10 });
    expect((await answer(signedRequest({ id: newMessageId(), body: '12345678901' }))).status).toBe(413);
    expect((await answer(signedRequest({ id: newMessageId(), body: '1234567890' }))).status).toBe(200);
    for (const [announced, sent] of [
      ['1', '12345678901'],
      ['11', '1'],
      ['none', '1'],
    ] as const) {
      const headers = { 'content-length': announced };
      const delivery = { id: newMessageId(), body: sent, headers };
      expect((await answer(signedRequest(delivery))).status).toBe(413);
    }
    const get = await answer(new Request('https://consumer.example/hook'));
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST, PUT, PATCH']);
    expect(seen).toHaveLength(1);
  });
});

describe('the message a handler gets', () => {
  it('carries the fields of the delivery', async () => {
    const { answer, seen, subscription } = receiver();
    const id = newMessageId();
    const headers = {
      'setway-tag': 'eu.created',
      'setway-key': 'u1',
      'setway-set': 'hangzhou',
      'setway-attempt': '3',
    };
    await answer(signedRequest({ id, body, headers }));
    expect(seen[0]).toMatchObject({
      id,
      subscription,
      topic: 'orders',
      tag: 'eu.created',
      key: 'u1',
      set: 'hangzhou',
      attempt: 3,
      contentType: 'application/json',
    });
    expect(seen[0]?.json()).toEqual({ orderId: 'o1', text: 'ü' });
  });

  it.each([
    ['JSON', Buffer.from('{')],
    ['UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ])('makes a dead letter of a body that is not %s', async (_what, bytes) => {
    const { answer } = receiver({}, async (message) => void message.json());
    const response = await answer(signedRequest({ id: newMessageId(), body: bytes }));
    expect([response.status, response.headers.get('setway-non-retryable')]).toEqual([422, '1']);
  });
});

describe('running once', () => {
  it('answers a copy with 200 and says that it is one', async () => {
    const { answer, seen } = receiver();
    const id = newMessageId();
    const first = await answer(signedRequest({ id, body }));
    const second = await answer(signedRequest({ id, body }));
    expect([first.status, first.headers.get('setway-duplicate')]).toEqual([200, null]);
    expect([second.status, second.headers.get('setway-duplicate')]).toEqual([200, '1']);
    expect(seen).toHaveLength(1);
  });

  it('runs the handler once for two deliveries at the same time; the other is told to come back', async () => {
    const finish = Promise.withResolvers<undefined>();
    const begun = Promise.withResolvers<undefined>();
    const { answer, seen } = receiver({}, async () => {
      begun.resolve(undefined);
      await finish.promise;
    });
    const id = newMessageId();
    const first = answer(signedRequest({ id, body }));
    await begun.promise;
    const second = await answer(signedRequest({ id, body }));
    expect(second.status).toBe(409);
    expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(0);
    finish.resolve(undefined);
    expect((await first).status).toBe(200);
    expect((await answer(signedRequest({ id, body }))).headers.get('setway-duplicate')).toBe('1');
    expect(seen).toHaveLength(1);
  });

  it('runs the handler once for 100 deliveries at once', async () => {
    const { answer, seen } = receiver();
    const id = newMessageId();
    await Promise.all(Array.from({ length: 100 }, () => answer(signedRequest({ id, body }))));
    expect(seen).toHaveLength(1);
  });

  it('keeps the subscriptions of one message apart', async () => {
    const [one, other] = [receiver(), receiver()];
    const id = newMessageId();
    await one.answer(signedRequest({ id, body }));
    await other.answer(signedRequest({ id, body }));
    expect([one.seen.length, other.seen.length]).toEqual([1, 1]);
  });

  it('refuses another body under the same id for good', async () => {
    const { answer, seen } = receiver();
    const id = newMessageId();
    await answer(signedRequest({ id, body }));
    const response = await answer(signedRequest({ id, body: '{}' }));
    expect([response.status, response.headers.get('setway-non-retryable')]).toEqual([422, '1']);
    expect(seen).toHaveLength(1);
  });
});

describe('failing', () => {
  it('answers 500 without the reason, reports it, and lets the retry run', async () => {
    let isBroken = true;
    const { answer, seen, faults } = receiver({}, async () => {
      if (isBroken) throw new Error('password=hunter2');
    });
    const id = newMessageId();
    const failed = await answer(signedRequest({ id, body }));
    expect(failed.status).toBe(500);
    expect(JSON.stringify(await problemOf(failed))).not.toContain('hunter2');
    expect(faults).toMatchObject([
      { during: 'handler', messageId: id, error: { message: 'password=hunter2' } },
    ]);
    isBroken = false;
    expect((await answer(signedRequest({ id, body }))).status).toBe(200);
    expect(seen).toHaveLength(2);
  });

  it('makes a dead letter of what no retry can help, with the reason', async () => {
    const { answer, seen } = receiver({}, async () => {
      throw new NonRetryable('no such sku');
    });
    const id = newMessageId();
    const response = await answer(signedRequest({ id, body }));
    expect([response.status, response.headers.get('setway-non-retryable')]).toEqual([422, '1']);
    expect(await problemOf(response)).toMatchObject({ detail: 'no such sku' });
    await answer(signedRequest({ id, body })); // redriven by hand, it runs again
    expect(seen).toHaveLength(2);
  });

  it('never processes anyway when the guard is gone', async () => {
    const { answer, seen, faults } = receiver({ guard: deadGuard });
    const response = await answer(signedRequest({ id: newMessageId(), body }));
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(seen).toHaveLength(0);
    expect(faults).toMatchObject([{ during: 'reserve', error: { kind: 'redis-unavailable' } }]);
  });

  it('answers 200 when the effect is there and only the done marker is not, and says so when it stays so', async () => {
    const half: Guard = { ...deadGuard, reserve: (...asked) => guard.reserve(...asked) };
    const later: Promise<unknown>[] = [];
    const inBackground = (work: Promise<unknown>): void => void later.push(work);
    const { answer, faults } = receiver({ guard: half, leaseMs: 1_000, inBackground });
    expect((await answer(signedRequest({ id: newMessageId(), body }))).status).toBe(200);
    expect(faults).toEqual([]);
    await Promise.all(later);
    expect(faults).toMatchObject([{ during: 'complete', error: { kind: 'redis-unavailable' } }]);
  });

  it('writes the done marker behind the answer when the guard was away for a moment', async () => {
    let isAway = true;
    const complete: Guard['complete'] = async (...asked) => {
      const guardAtWork = isAway ? deadGuard : guard;
      isAway = false;
      return guardAtWork.complete(...asked);
    };
    const later: Promise<unknown>[] = [];
    const inBackground = (work: Promise<unknown>): void => void later.push(work);
    const { answer, seen, faults } = receiver({ guard: { ...guard, complete }, inBackground });
    const id = newMessageId();
    expect((await answer(signedRequest({ id, body }))).status).toBe(200);
    await Promise.all(later);
    const copy = await answer(signedRequest({ id, body }));
    expect([copy.status, copy.headers.get('setway-duplicate')]).toEqual([200, '1']);
    expect(seen).toHaveLength(1);
    expect(faults).toEqual([]);
  });

  it('reports a handler that finished after somebody else took its message', async () => {
    const id = newMessageId();
    const { answer, faults } = receiver({}, async ({ subscription }) => {
      const key = `idem:${subscription}:${id}`;
      await connectRedis({ requester }).run(`return redis.call('DEL', KEYS[1])`, [key], []);
      await guard.reserve(key, 'f', 60_000);
    });
    expect((await answer(signedRequest({ id, body }))).status).toBe(200);
    expect(faults).toMatchObject([{ during: 'complete', error: { kind: 'conflict' } }]);
  });
});

describe('a handler that guards itself', () => {
  it.each([
    ['done', 200, null, null],
    ['duplicate', 200, '1', null],
    ['mismatch', 422, null, '1'],
  ] as const)('answers what it says: %s', async (result, status, duplicate, nonRetryable) => {
    const { answer } = receiver({ guard: 'handler' }, async () => result);
    const response = await answer(signedRequest({ id: newMessageId(), body }));
    expect(response.status).toBe(status);
    expect(response.headers.get('setway-duplicate')).toBe(duplicate);
    expect(response.headers.get('setway-non-retryable')).toBe(nonRetryable);
  });

  it('answers 500 when it throws', async () => {
    const { answer } = receiver({ guard: 'handler' }, async () => {
      throw new Error('no database');
    });
    expect((await answer(signedRequest({ id: newMessageId(), body }))).status).toBe(500);
  });
});

describe('in Hono', () => {
  it('takes its settings from the environment of the request', async () => {
    const app = new Hono<{ Bindings: { SECRET: string } }>();
    const subscription = `sub-${crypto.randomUUID()}`;
    const hook = webhook<{ Bindings: { SECRET: string } }>(
      (c) => ({ secrets: [c.env.SECRET], subscription, guard }),
      async () => undefined,
    );
    app.post('/hook', hook);
    const id = newMessageId();
    const first = await app.request(signedRequest({ id, body }), {}, { SECRET: secret });
    const second = await app.request(signedRequest({ id, body }), {}, { SECRET: secret });
    expect([first.status, second.headers.get('setway-duplicate')]).toEqual([200, '1']);
  });
});
