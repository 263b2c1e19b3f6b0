/** A SET that is fenced while its hosts live: they stop, edges go elsewhere, and what waited goes on when it serves again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { changeTenure } from '../../shared/store/tenure.ts';
import { configureDatabases, openDatabase } from '../../shared/store/database.ts';
import { areDeliveries } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';

const deadlineMs = 20_000;
const bridge = createNeonBridge();
afterAll(() => bridge.close());

describe.each(platforms)('a fenced SET on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(platform, 'fenced', { listeners: { held: {} } });
    // Opening a scene had its own way to the databases.
    configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  });
  afterAll(() => scene.stop());

  const publish = (n: number) =>
    scene.client.publish({ topic: 'events', tag: 'held', body: { n }, route: { set: 'hangzhou' } });

  it('delivers nothing more, leaves no trace of what it had in hand, and goes on when it serves again', async () => {
    const url = scene.deployment.databaseUrls['hangzhou'] ?? '';
    const sql = openDatabase(url);
    const answered = Promise.withResolvers<undefined>();
    scene.receiver.script('/held', [
      async () => {
        await answered.promise;
        return { status: 503 };
      },
    ]);
    const first = await publish(1);
    expect(first.body.set).toBe('hangzhou');
    await scene.receiver.waitFor(() => scene.receiver.callsOf(first.body.id).length === 1, deadlineMs);
    await changeTenure(sql, { set: 'hangzhou', from: 0, state: 'fenced' });
    // What was in hand fails now: it would be tried again, if the books took it.
    answered.resolve(undefined);
    const second = await publish(2);
    expect(second.status).toBe(202);
    expect(second.body).toMatchObject({ route: { reason: 'failover' }, state: 'stored' });
    await scene.client.message(second.body.id, areDeliveries('DONE', 'held'));
    const known = await query(url, 'SELECT * FROM attempt');
    expect(known).toEqual([]);
    expect(scene.receiver.callsOf(first.body.id)).toHaveLength(1);
    await changeTenure(sql, { set: 'hangzhou', from: 1, state: 'serving' });
    await scene.client.message(first.body.id, areDeliveries('DONE', 'held'));
  });
});
