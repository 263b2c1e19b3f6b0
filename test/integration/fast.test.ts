/** `fast` mode: not stored, at most once, and flushed by a graceful stop. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows } from '../stack/query.ts';
import { countWaiting } from '../stack/queue.ts';

const flood = 500;

describe.each(platforms)('fast messages on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'fast', {
      listeners: {
        // One call at a time, so that many wait when the host stops.
        heard: { bindings: ['heard', 'flood'], concurrency: 1 },
        // Nobody consumes its queue, so what reached the broker can be counted there.
        kept: { bindings: ['flood'], status: 'paused' },
      },
      settings: { SETWAY_STOP_GRACE_SECONDS: '25' },
    });
  });
  afterAll(() => scene.stop());

  const publishFast = (tag: string) =>
    scene.client.publish({ topic: 'events', tag, mode: 'fast', body: { tag } }, at(cities.berlin));

  it('are delivered and signed like others, and not stored', async () => {
    // On workerd this opens the host: the message waits for its channel.
    const sent = await publishFast('heard');
    expect(sent).toMatchObject({ status: 202, body: { state: 'sent', route: { reason: 'nearest' } } });
    const call = await scene.receiver.waitFor(() => scene.receiver.callsOf(sent.body.id)[0], 20_000);
    expect(call.headers).toMatchObject({ 'setway-set': 'frankfurt', 'setway-attempt': '1' });
    expect((await scene.client.get(`/v1/messages/${sent.body.id}`)).status).toBe(404);
    expect(await countRows(Object.values(scene.deployment.databaseUrls), 'message')).toBe(0);
  });

  it('that fail are not tried again', async () => {
    scene.receiver.script('/heard', [{ status: 503 }]);
    const failed = await publishFast('heard');
    await scene.receiver.waitFor(() => scene.receiver.callsOf(failed.body.id)[0], 20_000);
    const next = await publishFast('heard');
    await scene.receiver.waitFor(() => scene.receiver.callsOf(next.body.id)[0], 20_000);
    expect(await countRows(Object.values(scene.deployment.databaseUrls), 'agenda')).toBe(0);
    expect(scene.receiver.callsOf(failed.body.id)).toHaveLength(1);
  });

  // A worker has no graceful stop: the platform ends it when its requests are answered.
  it.runIf(platform.name === 'Node')(
    'are all at the broker after a graceful stop',
    async () => {
      const answers = await Promise.all(Array.from({ length: flood }, () => publishFast('flood')));
      await scene.server.stop();
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
      const waiting = async (queue: string): Promise<number> => {
        const urls = Object.values(scene.deployment.brokerUrls);
        const counts = await Promise.all(urls.map((url) => countWaiting(url, queue)));
        return counts.reduce((sum, count) => sum + count, 0);
      };
      expect(await waiting('setway.sub.kept')).toBe(flood);
      const heard = new Set(answers.filter(({ body }) => scene.receiver.callsOf(body.id).length > 0));
      expect(heard.size + (await waiting('setway.sub.heard'))).toBe(flood);
    },
    60_000,
  );
});
