/** Who is told how a delivery ended: once it has, signed, again until it is heard, and without holding up anything. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Webhook } from 'standardwebhooks';
import { areDeliveries, at, cities } from '../stack/client.ts';
import { secretOf } from '../stack/listeners.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows } from '../stack/query.ts';
import { until } from '../stack/until.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';

const deadlineMs = 20_000;
const json = { 'content-type': 'application/json' };

/** Where subscriptions tell of failures when the message says nothing. */
const fallbacks: Readonly<Record<string, string>> = { dropping: 'dropped', whole: 'whole-failed' };

const async202 = (lease: string) => ({
  status: 202,
  headers: { 'setway-async': '1', 'setway-lease': lease },
});

function told(call: WebhookCall | undefined): Record<string, unknown> {
  return JSON.parse(call?.body.toString() ?? '{}') as Record<string, unknown>;
}

describe.each(platforms)('callbacks on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'callbacks', {
      listeners: {
        plain: { retryDelaysMs: [100] },
        dropping: { retryDelaysMs: [], atEnd: 'drop' },
        later: { retryDelaysMs: [] },
        pulled: { kind: 'pull', endpoint: undefined, retryDelaysMs: [] },
        whole: { ordered: 'together', retryDelaysMs: [] },
      },
      change: (seed, receiverUrl) => ({
        ...seed,
        subscriptions: (seed.subscriptions ?? []).map((each) =>
          each.name in fallbacks
            ? { ...each, callback: { failure: `${receiverUrl}/${fallbacks[each.name]}` } }
            : each,
        ),
      }),
    });
  });
  afterAll(() => scene.stop());

  const publish = (message: object) =>
    scene.client.publish({ topic: 'events', body: 1, ...message }, at(cities.berlin));
  const waitFor = (path: string, amount = 1) =>
    scene.receiver.waitFor((calls) => {
      const found = calls.filter((call) => call.path === path);
      return found.length >= amount ? found : undefined;
    }, deadlineMs);
  const urls = (name: string) => ({
    success: `${scene.receiver.url}/${name}-done`,
    failure: `${scene.receiver.url}/${name}-failed`,
  });

  it('tell of a success with what the webhook answered, signed with the secrets of the subscription', async () => {
    scene.receiver.script('/plain', [{ status: 200, body: 'order 4711 is booked' }]);
    const { body } = await publish({ tag: 'plain', callback: urls('good') });
    const [call] = await waitFor('/good-done');
    expect(told(call)).toMatchObject({
      message: body.id,
      topic: 'events',
      subscription: 'plain',
      state: 'DONE',
      attempts: 1,
      status: 200,
      error: null,
      answer: 'order 4711 is booked',
    });
    expect(call?.headers['setway-notice']).toBe('delivery-ended');
    const secret = secretOf(scene.deployment.seed, 'plain');
    const signed = { ...call?.headers } as Record<string, string>;
    expect(() => new Webhook(secret).verify(call?.body.toString() ?? '', signed)).not.toThrow();
    await scene.client.message(body.id, ({ timeline }) =>
      timeline.some(
        ({ change, detail }) => change === 'callback' && detail === 'plain DONE: told (HTTP 200)',
      ),
    );
  });

  it('tell of a failure once the last try is over, and again under the same id until it is heard', async () => {
    scene.receiver.script('/plain', [{ status: 503 }, { status: 502, body: 'no' }]);
    scene.receiver.script('/bad-failed', [{ status: 503, headers: { 'retry-after': '1' } }]);
    const { body } = await publish({ tag: 'plain', callback: urls('bad') });
    const [first, second] = await waitFor('/bad-failed', 2);
    expect(told(first)).toMatchObject({
      state: 'DEAD',
      attempts: 2,
      status: 502,
      error: 'HTTP 502: no',
      answer: 'no',
    });
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
    expect(told(second)).toEqual(told(first));
    expect(scene.receiver.callsOf(body.id, '/plain')).toHaveLength(2);
    expect(scene.receiver.calls.some(({ path }) => path === '/bad-done')).toBe(false);
  });

  it('of the subscription are told when the message has none, of what is dropped too', async () => {
    scene.receiver.script('/dropping', [{ status: 500 }]);
    const { body } = await publish({ tag: 'dropping' });
    const [call] = await waitFor('/dropped');
    expect(told(call)).toMatchObject({ message: body.id, state: 'SKIPPED', status: 500 });
  });

  it('come after ordered deliveries too', async () => {
    const { body } = await publish({ tag: 'plain', lane: 'a', callback: urls('lane') });
    expect(told((await waitFor('/lane-done'))[0])).toMatchObject({ message: body.id, state: 'DONE' });
  });

  it('come with what a consumer answers later over HTTP, once however often that is said', async () => {
    scene.receiver.script('/later', [async202('10m'), async202('10m')]);
    const answer = async (name: string, says: string, body: object): Promise<string> => {
      const published = await publish({ tag: 'later', callback: urls(name) });
      const [call] = await scene.receiver.waitFor(() => {
        const calls = scene.receiver.callsOf(published.body.id, '/later');
        return calls.length > 0 ? calls : undefined;
      }, deadlineMs);
      await scene.client.message(published.body.id, areDeliveries('LEASED', 'later'));
      const delivery = String(call?.headers['setway-delivery']);
      for (let n = 0; n < 2; n++)
        await scene.client.post(`/v1/deliveries/${delivery}/${says}`, JSON.stringify(body), json);
      return published.body.id;
    };
    const done = await answer('answered', 'done', {});
    expect(told((await waitFor('/answered-done'))[0])).toMatchObject({
      message: done,
      state: 'DONE',
      attempts: 1,
      status: null,
      error: null,
      answer: null,
    });
    const failed = await answer('refused', 'failed', { error: 'no paper', retry: 'never' });
    expect(told((await waitFor('/refused-failed'))[0])).toMatchObject({
      message: failed,
      state: 'DEAD',
      error: 'no paper',
    });
    await scene.client.message(failed, ({ timeline }) =>
      timeline.some(({ change }) => change === 'callback'),
    );
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    await until(deadlineMs, async () => (await countRows([database], 'delivery_callback')) === 0);
    for (const path of ['/answered-done', '/refused-failed'])
      expect(scene.receiver.calls.filter((call) => call.path === path)).toHaveLength(1);
  });

  it('come when a lease ends for the last time, and again when it turns out to be done', async () => {
    scene.receiver.script('/later', [async202('1s')]);
    const { body } = await publish({ tag: 'later', callback: urls('late') });
    expect(told((await waitFor('/late-failed'))[0])).toMatchObject({
      message: body.id,
      state: 'DEAD',
      error: 'The lease ended without an answer.',
    });
    const [call] = scene.receiver.callsOf(body.id, '/later');
    await scene.client.post(`/v1/deliveries/${String(call?.headers['setway-delivery'])}/done`, '{}', json);
    expect(told((await waitFor('/late-done'))[0])).toMatchObject({ message: body.id, state: 'DONE' });
  });

  it('come with the ack, the nack and the end of the lease of what is pulled', async () => {
    const pull = (name: string, body: object) =>
      scene.operator.post<{
        readonly messages: readonly { readonly delivery: string; readonly id: string }[];
      }>(`/v1/subscriptions/pulled/${name}`, JSON.stringify(body), json);
    const pulled = async (name: string, lease: string): Promise<string> => {
      const { body } = await publish({ tag: 'pulled', callback: urls(name) });
      const [held] = (await pull('pull', { wait: '15s', lease })).body.messages;
      expect(held?.id).toBe(body.id);
      return held?.delivery ?? '';
    };
    await pull('ack', { ids: [await pulled('acked', '10m')] });
    await pull('nack', { ids: [await pulled('nacked', '10m')], error: 'no' });
    await pulled('left', '1s');
    expect(told((await waitFor('/acked-done'))[0])).toMatchObject({ subscription: 'pulled', state: 'DONE' });
    expect(told((await waitFor('/nacked-failed'))[0])).toMatchObject({ state: 'DEAD', error: 'no' });
    const [left] = await waitFor('/left-failed');
    expect(told(left)).toMatchObject({ state: 'DEAD', error: 'The lease ended without an answer.' });
    const signed = { ...left?.headers } as Record<string, string>;
    const secret = secretOf(scene.deployment.seed, 'pulled');
    expect(() => new Webhook(secret).verify(left?.body.toString() ?? '', signed)).not.toThrow();
  });

  it('come for each item of a sequence that travels together, even if its webhook wants to answer later', async () => {
    scene.receiver.script('/whole', [async202('1m')]);
    const messages = [{ body: 1 }, { body: 2 }];
    const { body } = await scene.client.post<{ readonly messages: readonly { readonly id: string }[] }>(
      '/v1/sequences',
      JSON.stringify({ topic: 'events', tag: 'whole', messages }),
      { ...json, ...at(cities.berlin) },
    );
    const calls = await waitFor('/whole-failed', 2);
    const failed = calls.map((call) => told(call)['message'] as string);
    expect(failed.toSorted()).toEqual(body.messages.map(({ id }) => id).toSorted());
    expect(told(calls[0])).toMatchObject({
      state: 'DEAD',
      error: 'A sequence that travels together cannot be answered later (setway-async).',
    });
  });

  it('that nobody takes end on the timeline and hold up nothing', async () => {
    scene.receiver.script('/gone-done', [{ status: 404, body: 'who?' }]);
    const { body } = await publish({ tag: 'plain', callback: urls('gone') });
    await scene.client.message(body.id, areDeliveries('DONE', 'plain'));
    await scene.client.message(body.id, ({ timeline }) =>
      timeline.some(({ detail }) => detail === 'plain DONE: given up (HTTP 404: who?)'),
    );
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    await until(deadlineMs, async () => (await countRows([database], 'agenda', "kind = 'callback'")) === 0);
    expect(await countRows([database], 'delivery_callback')).toBe(0);
  });

  it('to addresses that must not be called are refused at publish, and so is a callback that would publish', async () => {
    for (const url of [
      'http://169.254.169.254/x',
      'ftp://shop.example.com/',
      'http://10.0.0.1/',
      'nonsense',
    ]) {
      const { status } = await publish({ tag: 'plain', callback: { success: url } });
      expect([url, status]).toEqual([url, 422]);
    }
    const raw = (headers: Record<string, string>) =>
      scene.client.post('/v1/topics/events/messages', 'x', { 'setway-tag': 'plain', ...headers });
    expect((await raw({ 'setway-callback-failure': 'http://10.0.0.1/' })).status).toBe(422);
    expect(
      (await raw({ 'setway-callback-success': `${scene.receiver.url}/raw-done`, ...at(cities.berlin) }))
        .status,
    ).toBe(202);
    await waitFor('/raw-done');
    // What a callback looks like is no publish.
    expect((await raw({ 'setway-notice': 'delivery-ended' })).status).toBe(422);
    const fast = await publish({ tag: 'plain', mode: 'fast', callback: urls('fast') });
    expect(fast.status).toBe(422);
  });
});
