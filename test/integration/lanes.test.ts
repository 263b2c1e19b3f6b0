/** Lanes end to end: one after the other within a lane, side by side across lanes, whatever fails in between. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows } from '../stack/query.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 30_000;

describe.each(platforms)('lanes on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'lanes', {
      listeners: { plain: {}, poison: {}, some: { bindings: ['some.*'] }, every: { bindings: ['some.#'] } },
    });
  });
  afterAll(() => scene.stop());

  /** A lane has one home: while that is busy beyond the deadline, the answer is 503, and the key makes the retry safe. */
  const publish = (lane: string, tag: string, n: number): Promise<string> => {
    const headers = { ...at(cities.berlin), 'idempotency-key': `${lane}-${n}` };
    return until(deadlineMs, async () => {
      const message = { topic: 'events', tag, lane, body: { lane, n } };
      const { status, body } = await scene.client.publish(message, headers);
      if (status !== 503 && status !== 409) expect(status).toBe(202);
      return status === 202 && body.id;
    });
  };
  /** What a path heard of a lane, in the order of the calls. */
  const heard = (path: string, lane: string): readonly number[] =>
    scene.receiver.calls
      .filter((call) => call.path === path && call.headers['setway-lane'] === lane)
      .map(({ body }) => (JSON.parse(body.toString()) as { readonly n: number }).n);
  const waitFor = (path: string, lane: string, amount: number) =>
    scene.receiver.waitFor(() => heard(path, lane).length >= amount, deadlineMs);

  it('many lanes at once are each heard in the order of their 202s', async () => {
    const lanes = Array.from({ length: 20 }, (_, index) => `user-${index}`);
    const numbers = Array.from({ length: 10 }, (_, index) => index);
    await Promise.all(
      lanes.map(async (lane) => {
        for (const n of numbers) await publish(lane, 'plain', n);
      }),
    );
    for (const lane of lanes) {
      await waitFor('/plain', lane, numbers.length);
      expect(heard('/plain', lane)).toEqual(numbers);
    }
    // Every lane has one home, and its streams are closed.
    await until(deadlineMs, async () => {
      const open = await countRows(Object.values(scene.deployment.databaseUrls), 'agenda', "kind = 'order'");
      return open === 0;
    });
  });

  it('what fails is tried again before the next of its lane, and holds up no other lane', async () => {
    scene.receiver.script('/poison', [{ status: 503 }, { status: 503 }]);
    const first = await publish('stuck', 'poison', 1);
    await scene.receiver.waitFor(() => scene.receiver.callsOf(first).length > 0, deadlineMs);
    const second = await publish('stuck', 'poison', 2);
    const third = await publish('stuck', 'poison', 3);
    await scene.client.message(third, areDeliveries('DONE', 'poison'));
    expect(heard('/poison', 'stuck')).toEqual([1, 1, 1, 2, 3]);
    expect(scene.receiver.callsOf(first).map(({ headers }) => headers['setway-attempt'])).toEqual([
      '1',
      '2',
      '3',
    ]);
    expect(scene.receiver.callsOf(second)).toHaveLength(1);
  });

  it('a dead letter lets its lane go on', async () => {
    scene.receiver.script('/poison', [{ status: 400 }]);
    const dead = await publish('over', 'poison', 1);
    const next = await publish('over', 'poison', 2);
    await scene.client.message(next, areDeliveries('DONE', 'poison'));
    const { deliveries } = await scene.client.message(dead, areDeliveries('DEAD', 'poison'));
    expect(deliveries[0]?.attempts).toMatchObject([{ attempt: 1, status: 400, outcome: 'DEAD' }]);
    expect(heard('/poison', 'over')).toEqual([1, 2]);
  });

  it('a subscription hears its own tags of a lane, in order', async () => {
    const tags = ['some.a', 'none', 'some.a.b', 'some.b', 'some'];
    for (const [n, tag] of tags.entries()) await publish('mixed', tag, n);
    await waitFor('/every', 'mixed', 4);
    await waitFor('/some', 'mixed', 2);
    expect(heard('/every', 'mixed')).toEqual([0, 2, 3, 4]);
    expect(heard('/some', 'mixed')).toEqual([0, 3]);
  });

  it('a subscription that comes later hears a lane from then on', async () => {
    const early = await publish('grown', 'plain', 1);
    await scene.client.message(early, areDeliveries('DONE', 'plain'));
    const later = {
      name: 'late',
      topic: 'events',
      bindings: ['plain'],
      endpoint: { url: `${scene.receiver.url}/late` },
    };
    const made = await scene.operator.post('/v1/subscriptions', JSON.stringify(later), {
      'content-type': 'application/json',
    });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    // Until the lane's home has declared its queue, it hears nothing; the cron wakes a host to look.
    let nth = 0;
    await until(deadlineMs, async () => {
      await publish('grown', 'plain', ++nth + 1);
      await scene.server.runCron('* * * * *');
      return heard('/late', 'grown').length > 0;
    });
    const got = heard('/late', 'grown');
    expect(got).not.toContain(1);
    expect(got).toEqual(got.toSorted((a, b) => a - b));
  });

  it('fast has no lane', async () => {
    const { status } = await scene.client.publish({
      topic: 'events',
      tag: 'plain',
      lane: 'x',
      mode: 'fast',
      body: 1,
    });
    expect(status).toBe(422);
  });
});
