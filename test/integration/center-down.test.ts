/** The center's database is away all the while: SETs publish, deliver, retry and keep order; only changes of the catalog wait. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms, type Platform } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';

const deadlineMs = 30_000;

/** Reaches the catalog of the center by way of the proxy. */
function behind(platform: Platform, proxy: TcpProxy): Platform {
  return {
    ...platform,
    start(deployment, settings) {
      const [center = '', ...others] = (deployment.settings['SETWAY_CATALOG_DATABASES'] ?? '').split(',');
      const urls = [proxy.through(center), ...others].join(',');
      return platform.start(deployment, { ...settings, SETWAY_CATALOG_DATABASES: urls });
    },
  };
}

describe.each(platforms)('without the center on $name', (platform) => {
  let proxy: TcpProxy;
  let scene: Scene;

  beforeAll(async () => {
    proxy = await startTcpProxy(useStack().postgresUrl);
    scene = await openScene(behind(platform, proxy), 'centerless', {
      listeners: { plain: {}, failing: {} },
      settings: { SETWAY_OPERATORS: 'demo' },
      change: (seed) => ({
        ...seed,
        sets: seed.sets.map((set) =>
          set.id === 'center'
            ? { ...set, databaseUrls: set.databaseUrls.map((url) => proxy.through(url)) }
            : set,
        ),
      }),
    });
    proxy.become('closed');
  });
  afterAll(async () => {
    await scene.stop();
    await proxy.close();
  });

  it('messages are published, delivered, tried again and kept in order; only the catalog cannot be changed', async () => {
    const plain = await scene.client.publish({ topic: 'events', tag: 'plain', body: {} });
    expect(plain.status).toBe(202);
    await scene.client.message(plain.body.id, areDeliveries('DONE', 'plain'));
    scene.receiver.script('/failing', [{ status: 503 }]);
    const failing = await scene.client.publish({ topic: 'events', tag: 'failing', body: {} });
    await scene.client.message(failing.body.id, areDeliveries('DONE', 'failing'));
    expect(scene.receiver.callsOf(failing.body.id)).toHaveLength(2);
    const numbers = Array.from({ length: 8 }, (_, n) => n);
    for (const n of numbers)
      expect(
        (await scene.client.publish({ topic: 'events', tag: 'plain', lane: 'l', body: { n } })).status,
      ).toBe(202);
    const heard = () =>
      scene.receiver.calls
        .filter(({ headers }) => headers['setway-lane'] === 'l')
        .map(({ body }) => (JSON.parse(body.toString()) as { readonly n: number }).n);
    await scene.receiver.waitFor(() => heard().length >= numbers.length, deadlineMs);
    expect(heard()).toEqual(numbers);
    const json = { 'content-type': 'application/json' };
    const topic = await scene.operator.post('/v1/topics', JSON.stringify({ name: 'new' }), json);
    expect(topic.status).toBe(503);
    const move = JSON.stringify({ from: 0, to: 5460, set: 'frankfurt' });
    expect((await scene.operator.post('/v1/routes/moves', move, json)).status).toBe(503);
    // It was really away, and asked for.
    expect(proxy.refused).toBeGreaterThan(0);
  });
});
