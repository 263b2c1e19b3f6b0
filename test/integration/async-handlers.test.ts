/** Webhooks that answer 202 and say later what became of the delivery, with nothing but the id they were handed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, createClient, type Reply } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';

const later = (lease: string) => ({ status: 202, headers: { 'setway-async': '1', 'setway-lease': lease } });
/** A host that is not woken looks only every 15 s. */
const promptMs = 12_000;

interface Answered {
  readonly state: string;
  readonly subscription: string;
  readonly nextAttemptAt: string | null;
}

describe.each(platforms)('handlers that answer later, on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(platform, 'async', {
      listeners: { work: {}, slow: {}, spent: { retryDelaysMs: [] }, lane: {}, steps: {} },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (tag: string, more: Readonly<Record<string, unknown>> = {}): Promise<string> => {
    const { status, body } = await scene.client.publish(
      { topic: 'events', tag, body: 1, ...more },
      at(cities.berlin),
    );
    expect(status).toBe(202);
    return body.id;
  };
  const callOf = (id: string, attempt = 1): Promise<WebhookCall> =>
    scene.receiver.waitFor(() => scene.receiver.callsOf(id)[attempt - 1], 20_000);
  /** As a consumer without an API key. */
  const say = (call: WebhookCall | string, what: string, body: object = {}): Promise<Reply<Answered>> => {
    const id = typeof call === 'string' ? call : String(call.headers['setway-delivery']);
    return createClient(scene.server.url, { apiKey: 'none' }).post(
      `/v1/deliveries/${id}/${what}`,
      JSON.stringify(body),
      { 'content-type': 'application/json' },
    );
  };
  const leased = async (tag: string, lease = '10m'): Promise<{ id: string; call: WebhookCall }> => {
    scene.receiver.script(`/${tag}`, [later(lease)]);
    const id = await publish(tag);
    const call = await callOf(id);
    // A short lease may be over before anybody looks.
    await scene.client.message(id, ({ deliveries }) =>
      deliveries.some(({ attempts }) => attempts.some(({ outcome }) => outcome === 'LEASED')),
    );
    return { id, call };
  };

  it('keeps the delivery leased, visibly, until the consumer says done; twice is fine', async () => {
    const { id, call } = await leased('work');
    const { deliveries } = await scene.client.message(id, areDeliveries('LEASED', 'work'));
    expect(deliveries[0]?.attempts).toMatchObject([{ attempt: 1, status: 202, outcome: 'LEASED' }]);
    expect(Date.parse(deliveries[0]?.nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(500_000);
    const done = await say(call, 'done');
    expect([done.status, done.body]).toEqual([
      200,
      { message: id, subscription: 'work', state: 'DONE', nextAttemptAt: null },
    ]);
    expect((await say(call, 'done')).status).toBe(200);
    expect((await say(call, 'failed')).status).toBe(409);
    expect((await say(call, 'extend')).status).toBe(409);
    const shown = await scene.client.message(id, areDeliveries('DONE', 'work'));
    expect(shown.deliveries[0]?.attempts).toMatchObject([
      { outcome: 'LEASED' },
      { attempt: 1, outcome: 'DONE', host: 'consumer' },
    ]);
    expect(scene.receiver.callsOf(id)).toHaveLength(1);
  });

  it('tries again by the schedule when the lease ends without an answer; a late done is true all the same', async () => {
    const { id, call } = await leased('slow', '1s');
    const second = await callOf(id, 2);
    expect(second.headers['webhook-id']).toBe(call.headers['webhook-id']);
    expect(second.headers['setway-attempt']).toBe('2');
    expect(second.headers['setway-delivery']).not.toBe(call.headers['setway-delivery']);
    const { deliveries } = await scene.client.message(id, areDeliveries('DONE', 'slow'), promptMs);
    expect(deliveries[0]?.attempts).toMatchObject([
      { attempt: 1, outcome: 'LEASED' },
      { attempt: 1, outcome: 'RETRY', error: 'The lease ended without an answer.' },
      { attempt: 2, outcome: 'DONE' },
    ]);
  });

  it('a schedule that is over makes a dead letter of a lease that ends; a late done repairs it, a late failed nothing', async () => {
    const { id, call } = await leased('spent', '1s');
    await scene.client.message(id, areDeliveries('DEAD', 'spent'), promptMs);
    expect((await say(call, 'failed')).body.state).toBe('DEAD');
    expect((await say(call, 'extend')).status).toBe(409);
    expect((await say(call, 'done')).body.state).toBe('DONE');
    await scene.client.message(id, areDeliveries('DONE', 'spent'));
  });

  it('tries again when the consumer says that it failed, and never when it says so', async () => {
    const first = await leased('work');
    const failed = await say(first.call, 'failed', { error: 'The printer is out of paper.' });
    expect([failed.status, failed.body.state]).toEqual([200, 'RETRY']);
    await scene.client.message(first.id, areDeliveries('DONE', 'work'), promptMs);
    const second = await leased('work');
    expect((await say(second.call, 'failed', { retry: 'never' })).body.state).toBe('DEAD');
    const { deliveries } = await scene.client.message(second.id, areDeliveries('DEAD', 'work'));
    expect(deliveries[0]?.attempts.at(-1)).toMatchObject({
      outcome: 'DEAD',
      error: 'The consumer says that it failed.',
    });
  });

  it('holds longer when asked', async () => {
    const { id, call } = await leased('work', '20s');
    const extended = await say(call, 'extend', { lease: '1h' });
    expect([extended.status, extended.body.state]).toEqual([200, 'LEASED']);
    expect(Date.parse(extended.body.nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(3_500_000);
    await say(call, 'done');
    await scene.client.message(id, areDeliveries('DONE', 'work'));
    expect(scene.receiver.callsOf(id)).toHaveLength(1);
  });

  it('the next of a lane goes only after done, and then at once', async () => {
    scene.receiver.script('/lane', [later('10m')]);
    const lane = crypto.randomUUID();
    const first = await publish('lane', { lane });
    const call = await callOf(first);
    const second = await publish('lane', { lane });
    const other = await publish('lane', { lane: crypto.randomUUID() });
    await scene.client.message(first, areDeliveries('LEASED', 'lane'));
    await scene.client.message(other, areDeliveries('DONE', 'lane'));
    expect(scene.receiver.callsOf(second)).toHaveLength(0);
    expect((await say(call, 'done')).status).toBe(200);
    await scene.client.message(second, areDeliveries('DONE', 'lane'), promptMs);
  });

  it('an item of a sequence that fails later is tried again before the next one', async () => {
    scene.receiver.script('/steps', [later('10m'), later('1s')]);
    const messages = [1, 2].map((step) => ({ body: { step } }));
    const sent = await scene.client.post<{ messages: readonly { id: string }[] }>(
      '/v1/sequences',
      JSON.stringify({ topic: 'events', tag: 'steps', messages }),
      { 'content-type': 'application/json', ...at(cities.berlin) },
    );
    const [first = '', second = ''] = sent.body.messages.map(({ id }) => id);
    const call = await callOf(first);
    await scene.client.message(first, areDeliveries('LEASED', 'steps'));
    expect((await say(call, 'failed')).body.state).toBe('RETRY');
    // Its second try is held as well, and given up by nobody's answer; the third one is done.
    await callOf(first, 3);
    await scene.client.message(second, areDeliveries('DONE', 'steps'), promptMs);
    const order = scene.receiver.calls
      .filter(({ path }) => path === '/steps')
      .map(({ headers }) => headers['webhook-id']);
    expect(order).toEqual([first, first, first, second]);
  });

  it('answers 404 for an id that it never handed out, and 422 for what breaks a rule', async () => {
    const { call } = await leased('work');
    const id = String(call.headers['setway-delivery']);
    for (const other of [
      'dlv_x',
      `${id.slice(0, -1)}${id.endsWith('A') ? 'B' : 'A'}`,
      'msg_01h455vb4pex5vsknk084sn02q',
    ])
      expect((await say(other, 'done')).status).toBe(404);
    for (const body of [{ lease: '0s' }, { lease: '25h' }, { lease: 'x' }, { leaseMs: 1 }])
      expect((await say(call, 'extend', body)).status).toBe(422);
    expect((await say(call, 'done')).status).toBe(200);
  });
});
