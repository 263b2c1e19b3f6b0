/** What a webhook's answer means for a delivery, and that a live host tries again on time. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, type ShownDelivery } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { query } from '../stack/query.ts';
import { countConsumers } from '../stack/queue.ts';
import { until } from '../stack/until.ts';

const retryMs = 300;
/** A host that is not woken by the retry it wrote looks only every 15 s. */
const promptMs = 12_000;

describe.each(platforms)('outcomes of deliveries on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'outcomes', {
      listeners: {
        flaky: {},
        busy: {},
        broken: {},
        refusing: {},
        final: {},
        gone: {},
        slow: { timeoutMs: 200 },
        moved: {},
      },
      // Longer than any deadline here: a consumption that stops must not wait for itself.
      settings: { SETWAY_STOP_GRACE_SECONDS: '60' },
    });
  });
  afterAll(() => scene.stop());

  const publishTo = async (tag: string): Promise<string> => {
    const { status, body } = await scene.client.publish(
      { topic: 'events', tag, body: { tag } },
      at(cities.berlin),
    );
    expect(status).toBe(202);
    return body.id;
  };
  /** The delivery, once it has this state. */
  const delivery = async (
    id: string,
    subscription: string,
    state: string,
    deadlineMs = 20_000,
  ): Promise<ShownDelivery> => {
    const { deliveries } = await scene.client.message(id, areDeliveries(state, subscription), deadlineMs);
    const [found] = deliveries;
    if (!found) throw new Error('No delivery.');
    return found;
  };

  it('an answer of 503 is tried again when the schedule says so, under the same id', async () => {
    scene.receiver.script('/flaky', [{ status: 503, body: 'try later' }]);
    const id = await publishTo('flaky');
    const done = await delivery(id, 'flaky', 'DONE', promptMs);
    expect(done.attempts).toMatchObject([
      { attempt: 1, status: 503, outcome: 'RETRY', error: 'HTTP 503: try later' },
      { attempt: 2, status: 200, outcome: 'DONE', error: null },
    ]);
    const calls = scene.receiver.callsOf(id, '/flaky');
    expect(calls.map(({ headers }) => headers['setway-attempt'])).toEqual(['1', '2']);
    const [first, second] = calls.map(({ headers }) => headers);
    expect(second?.['webhook-id']).toBe(first?.['webhook-id']);
    // Never early; how late is measured elsewhere.
    expect((calls[1]?.atMs ?? 0) - (calls[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(retryMs);
  });

  it('shows when the next try is, and honours Retry-After over the schedule', async () => {
    scene.receiver.script('/busy', [{ status: 429, headers: { 'retry-after': '2' } }]);
    const id = await publishTo('busy');
    const waiting = await delivery(id, 'busy', 'RETRY');
    expect(Date.parse(waiting.nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(retryMs * 2);
    await delivery(id, 'busy', 'DONE');
    const [first, second] = scene.receiver.callsOf(id, '/busy');
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(1_990);
  });

  it('a schedule that is over leaves the delivery dead, with every attempt', async () => {
    scene.receiver.script('/broken', [{ status: 500 }, { status: 502 }, { status: 504 }]);
    const id = await publishTo('broken');
    const dead = await delivery(id, 'broken', 'DEAD', promptMs);
    expect(dead.attempts.map(({ status, outcome }) => [status, outcome])).toEqual([
      [500, 'RETRY'],
      [502, 'RETRY'],
      [504, 'DEAD'],
    ]);
    expect(dead.nextAttemptAt).toBeNull();
    expect(scene.receiver.callsOf(id)).toHaveLength(3);
  });

  it.each([
    ['refusing', 'an answer of 400', { status: 400, body: 'no such order' }],
    ['final', 'a 503 that says it is final', { status: 503, headers: { 'setway-non-retryable': '1' } }],
  ] as const)('%s: %s is dead at once', async (name, _answer, answer) => {
    scene.receiver.script(`/${name}`, [answer]);
    const id = await publishTo(name);
    const dead = await delivery(id, name, 'DEAD');
    expect(dead.attempts).toMatchObject([{ attempt: 1, status: answer.status, outcome: 'DEAD' }]);
    expect(scene.receiver.callsOf(id)).toHaveLength(1);
  });

  it('a receiver that does not answer in time is tried again', async () => {
    scene.receiver.script('/slow', ['never']);
    const id = await publishTo('slow');
    const done = await delivery(id, 'slow', 'DONE');
    expect(done.attempts).toMatchObject([
      { status: null, outcome: 'RETRY', error: expect.stringContaining('within 200 ms') as string },
      { status: 200, outcome: 'DONE' },
    ]);
  });

  it('a redirect is not followed', async () => {
    scene.receiver.script('/moved', [
      { status: 307, headers: { location: `${scene.receiver.url}/elsewhere` } },
    ]);
    const id = await publishTo('moved');
    const done = await delivery(id, 'moved', 'DONE');
    expect(done.attempts.map(({ status }) => status)).toEqual([307, 200]);
    expect(scene.receiver.calls.some(({ path }) => path === '/elsewhere')).toBe(false);
  });

  it('410 stops the subscription in that SET, says so, and nowhere else', async () => {
    scene.receiver.script('/gone', [{ status: 410 }]);
    const id = await publishTo('gone');
    const dead = await delivery(id, 'gone', 'DEAD');
    expect(dead.attempts).toMatchObject([{ status: 410, error: expect.stringContaining('410') as string }]);
    const stopped = (set: string) =>
      query(
        scene.deployment.databaseUrls[set] ?? '',
        'SELECT subscription, reason FROM disabled_subscription',
      );
    await until(20_000, async () => (await stopped('frankfurt')).length > 0);
    expect(await stopped('frankfurt')).toEqual([{ subscription: 'gone', reason: 'HTTP 410' }]);
    expect(await stopped('hangzhou')).toEqual([]);
    // The consumer is gone from the queue, so what follows waits there.
    const vhost = scene.deployment.brokerUrls['frankfurt'] ?? '';
    await until(20_000, async () => (await countConsumers(vhost, 'setway.sub.gone')) === 0);
    await publishTo('gone');
    const elsewhere = await scene.client.publish(
      { topic: 'events', tag: 'gone', body: 1 },
      at(cities.shanghai),
    );
    await scene.client.message(elsewhere.body.id, areDeliveries('DONE', 'gone'));
    expect(scene.receiver.calls.filter(({ path }) => path === '/gone')).toHaveLength(2);
  });
});
