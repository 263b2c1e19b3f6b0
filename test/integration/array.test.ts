/** Several messages in one signed call, each with a record and tries of its own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Webhook } from 'standardwebhooks';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { NonRetryable, webhookHandler } from '../../shared/consumer/consumer.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { areDeliveries, at, cities } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { secretOf } from '../stack/listeners.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';

interface Item {
  readonly id: string;
  readonly attempt: number;
  readonly body: { readonly n: number };
}

function itemsOf(call: WebhookCall | undefined): readonly Item[] {
  return JSON.parse(call?.body.toString() ?? '[]') as readonly Item[];
}

describe.each(platforms)('arrays on $name', (platform) => {
  const requester = upstashRequester(useStack().redisUrl);
  let scene: Scene;

  beforeAll(async () => {
    const array = { maxItems: 5, maxWaitMs: 500 };
    scene = await openScene(platform, 'array', {
      listeners: { some: { array }, whole: { array }, guarded: { array, retryDelaysMs: [100] } },
    });
  });
  afterAll(async () => {
    await scene.stop();
    await requester.close();
  });

  const publish = async (tag: string, count: number): Promise<readonly string[]> => {
    const items = Array.from({ length: count }, (_, n) => ({
      topic: 'events',
      tag,
      body: { n },
      route: { set: 'frankfurt' },
    }));
    const { body } = await scene.client.post<{ readonly results: readonly { readonly id: string }[] }>(
      '/v1/messages/bulk',
      JSON.stringify(items),
      { 'content-type': 'application/json', ...at(cities.berlin) },
    );
    return body.results.map(({ id }) => id);
  };
  const callsOf = (name: string) => scene.receiver.calls.filter(({ path }) => path === `/${name}`);
  const ends = (ids: readonly string[], name: string, state: string) =>
    Promise.all(ids.map((id) => scene.client.message(id, areDeliveries(state, name))));

  it('hold so many messages or wait so long, and what the answer names is tried again, alone in its record', async () => {
    scene.receiver.script('/some', [
      (call) => ({
        status: 200,
        body: JSON.stringify({
          failed: itemsOf(call)
            .slice(0, 2)
            .map(({ id }) => id),
        }),
      }),
    ]);
    const ids = await publish('some', 7);
    const shown = await ends(ids, 'some', 'DONE');
    const [first, ...others] = callsOf('some').map(itemsOf);
    const named = first?.slice(0, 2).map(({ id }) => id) ?? [];
    expect(first?.length).toBeLessThanOrEqual(5);
    expect([first, ...others].every((items) => (items?.length ?? 0) <= 5)).toBe(true);
    expect(callsOf('some').length).toBeLessThanOrEqual(5);
    const again = others.flat().filter(({ attempt }) => attempt === 2);
    expect(new Set(again.map(({ id }) => id))).toEqual(new Set(named));
    for (const { id, deliveries } of shown)
      expect(deliveries[0]?.attempts.map(({ outcome }) => outcome)).toEqual(
        named.includes(id) ? ['RETRY', 'DONE'] : ['DONE'],
      );
    const [call] = callsOf('some');
    const secret = secretOf(scene.deployment.seed, 'some');
    const signed = { ...call?.headers } as Record<string, string>;
    expect(() => new Webhook(secret).verify(call?.body.toString() ?? '', signed)).not.toThrow();
  });

  it('fail whole by any other answer, and every message by its own schedule', async () => {
    scene.receiver.script(
      '/whole',
      Array.from({ length: 30 }, () => ({ status: 503 })),
    );
    const ids = await publish('whole', 4);
    for (const { deliveries } of await ends(ids, 'whole', 'DEAD'))
      expect(deliveries[0]?.attempts.map(({ status, outcome }) => [status, outcome])).toEqual([
        [503, 'RETRY'],
        [503, 'RETRY'],
        [503, 'DEAD'],
      ]);
  });

  it('reach a handler of setway/consumer one by one, each behind the guard', async () => {
    const seen: string[] = [];
    const handle = webhookHandler(
      {
        secrets: [secretOf(scene.deployment.seed, 'guarded')],
        subscription: `guarded-${crypto.randomUUID()}`,
        guard: createRedisGuard(connectRedis({ requester })),
      },
      async (message) => {
        const { n } = message.json() as { readonly n: number };
        if (n === 3) throw new NonRetryable('never');
        if (n === 1 && message.attempt === 1) throw new Error('later');
        seen.push(message.id);
      },
    );
    const answer = async ({ body, headers }: WebhookCall) => {
      const request = new Request('https://consumer.example/', {
        method: 'POST',
        body: new Uint8Array(body),
        headers: headers as Record<string, string>,
      });
      const response = await handle(request);
      return { status: response.status, body: await response.text() };
    };
    scene.receiver.script(
      '/guarded',
      Array.from({ length: 20 }, () => answer),
    );
    const ids = await publish('guarded', 5);
    const dead = ids[3] ?? '';
    await ends(
      ids.filter((id) => id !== dead),
      'guarded',
      'DONE',
    );
    await ends([dead], 'guarded', 'DEAD');
    expect(seen).toHaveLength(4);
    expect(new Set(seen)).toEqual(new Set(ids.filter((id) => id !== dead)));
  });
});
