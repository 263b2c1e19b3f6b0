/** Buckets that move from SET to SET under traffic: the order of every lane stays, nothing is lost, nobody does it twice. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMoveParts } from '../../functions/bucket-moves.ts';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { driveMove, planMove } from '../../shared/fleet/move-buckets.ts';
import { createSealer } from '../../shared/sealed.ts';
import { configureDatabases, openDatabase } from '../../shared/store/database.ts';
import { platforms } from '../stack/platform.ts';
import { countRows } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { setwayRoutes } from '../stack/setway.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 45_000;
const span = { from: 0, to: 5460 }; // hangzhou's
const bridge = createNeonBridge();
afterAll(() => bridge.close());

interface Routes {
  readonly buckets: readonly { readonly from: number; readonly set: string; readonly epoch: number }[];
  readonly moves: readonly unknown[];
}

describe.each(platforms)('moves of buckets on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'moves', {
      listeners: { heard: { concurrency: 20 } },
      // The edge reads its catalog once: what moves later it learns from who refuses it.
      settings: { SETWAY_CATALOG_MAX_AGE_MS: '600000', SETWAY_OPERATORS: 'demo' },
    });
    configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  });
  afterAll(() => scene.stop());

  /** By somebody who tells no edge of it. */
  const moveTo = async (target: string): Promise<void> => {
    const { settings, databaseUrls } = scene.deployment;
    const key = Buffer.from(settings['SETWAY_ENCRYPTION_KEYS'] ?? '', 'base64');
    const parts = createMoveParts({
      center: openDatabase(databaseUrls['center'] ?? ''),
      sealer: createSealer([key]),
      onWritten: () => Promise.resolve(),
    });
    const planned = await planMove(parts, { ...span, target, untilMs: Date.now() + deadlineMs });
    expect(await driveMove(parts, planned, { maxMs: deadlineMs })).toMatchObject({ outcome: 'moved' });
  };
  const publish = (lane: string, n: number) =>
    until(deadlineMs, async () => {
      const message = { topic: 'events', tag: 'heard', lane, body: { n } };
      const { status, body } = await scene.client.publish(message, { 'idempotency-key': `${lane}-${n}` });
      expect([202, 409, 503]).toContain(status);
      return status === 202 && body;
    });
  /** What a lane's consumer did, in order: a message it knows by its id has no effect. */
  const effects = (lane: string): readonly number[] => {
    const seen = new Set<unknown>();
    return scene.receiver.calls
      .filter(({ headers }) => headers['setway-lane'] === lane)
      .filter(({ headers }) => !seen.has(headers['webhook-id']) && seen.add(headers['webhook-id']))
      .map(({ body }) => (JSON.parse(body.toString()) as { readonly n: number }).n);
  };

  it(
    'lanes go on in their order, each message once, while their buckets go to another SET and back',
    { timeout: 120_000 },
    async () => {
      const run = crypto.randomUUID().slice(0, 8);
      const lanes = Array.from({ length: 8 }, (_, index) => `moving-${run}-${index}`);
      const visited = new Set<string>();
      let isOver = false;
      const counts = lanes.map(async (lane) => {
        let n = 0;
        for (; !isOver || n < 6; n++) visited.add(`${lane} ${(await publish(lane, n)).set}`);
        return n;
      });
      const isVisited = (set: string) =>
        until(deadlineMs, () => [...visited].some((each) => each.endsWith(` ${set}`)));
      await isVisited('hangzhou');
      for (const target of ['frankfurt', 'hangzhou']) {
        await moveTo(target);
        visited.clear();
        await isVisited(target);
      }
      isOver = true;
      for (const [index, count] of (await Promise.all(counts)).entries()) {
        const lane = lanes[index] ?? '';
        await scene.receiver.waitFor(() => effects(lane).length >= count, deadlineMs);
        expect(effects(lane)).toEqual(Array.from({ length: count }, (_, n) => n));
      }
      // Each was stored once, in one SET.
      const stored = await countRows(
        Object.values(scene.deployment.databaseUrls),
        'lane_entry',
        `lane LIKE 'moving-${run}-%'`,
      );
      expect(stored).toBe((await Promise.all(counts)).reduce((sum, count) => sum + count, 0));
    },
  );

  it('an edge that knows an older epoch corrects itself without its client seeing it', async () => {
    const lane = 'a-2'; // bucket 2800
    await moveTo('hangzhou');
    const before = (await publish(lane, 0)).set;
    await moveTo('frankfurt');
    const message = { topic: 'events', tag: 'heard', lane, body: { n: 1 } };
    const { status, body } = await scene.client.publish(message);
    expect(status).toBe(202);
    expect([before, body.set]).toEqual(['hangzhou', 'frankfurt']);
  });

  it('are asked for and shown over HTTP by operators alone', async () => {
    await moveTo('hangzhou');
    const wish = JSON.stringify({ ...span, set: 'frankfurt' });
    const json = { 'content-type': 'application/json' };
    for (const tenant of [scene.client, scene.stranger]) {
      expect((await tenant.post('/v1/routes/moves', wish, json)).status).toBe(403);
      expect((await tenant.get('/v1/routes')).status).toBe(403);
    }
    const bad = JSON.stringify({ from: 9, to: 3, set: 'frankfurt' });
    expect((await scene.operator.post('/v1/routes/moves', bad, json)).status).toBe(422);
    const astray = JSON.stringify({ from: 0, to: 9, set: 'nowhere' });
    expect((await scene.operator.post('/v1/routes/moves', astray, json)).status).toBe(404);
    const moved = await until(deadlineMs, async () => {
      const { status, body } = await scene.operator.post<{ state: string }>('/v1/routes/moves', wish, json);
      expect([200, 202]).toContain(status);
      return status === 200 && body;
    });
    expect(moved).toMatchObject({ source: 'hangzhou', target: 'frankfurt', state: 'moved', lanesLeft: 0 });
    expect((await scene.operator.post('/v1/routes/moves', wish, json)).body).toMatchObject({
      state: 'moved',
    });
    const { body } = await scene.operator.get<Routes>('/v1/routes');
    expect(body.buckets[0]).toMatchObject({ from: 0, set: 'frankfurt' });
    expect(body.moves).toEqual([]);
  });

  it('leave pins alone: keys are pinned, moved and let go by operators, and lanes stay with their bucket', async () => {
    const path = (key: string) => `/v1/routes/pins?topic=events&key=${encodeURIComponent(key)}`;
    const ask = (method: string, key: string, more: RequestInit = {}) =>
      scene.operator.send<Record<string, unknown>>(path(key), { method, ...more });
    const json = { 'content-type': 'application/json' };
    const to = (set: string, headers = {}) => ({
      body: JSON.stringify({ set }),
      headers: { ...json, ...headers },
    });
    const key = `a/${crypto.randomUUID()}`;
    for (const tenant of [scene.client, scene.stranger])
      expect((await tenant.send(path(key), { method: 'PUT', ...to('virginia') })).status).toBe(403);
    const made = await ask('PUT', key, to('virginia'));
    expect([made.status, made.body]).toEqual([201, { topic: 'events', key, set: 'virginia' }]);
    expect((await ask('PUT', key, to('virginia'))).status).toBe(200);
    expect((await ask('GET', key)).headers.get('etag')).toBe(made.headers.get('etag'));
    const message = { topic: 'events', tag: 'heard', body: 1 };
    expect((await scene.client.publish({ ...message, key })).body).toMatchObject({
      set: 'virginia',
      route: { reason: 'pin' },
    });
    // Another SET needs to know what it goes on from.
    const etag = made.headers.get('etag') ?? '';
    expect((await ask('PUT', key, to('frankfurt'))).status).toBe(428);
    expect((await ask('PUT', key, to('frankfurt', { 'if-match': '"old"' }))).status).toBe(412);
    expect((await ask('PUT', key, to('frankfurt', { 'if-match': etag }))).status).toBe(200);
    expect((await ask('PUT', key, to('atlantis', { 'if-match': '*' }))).status).toBe(404);
    expect((await scene.client.publish({ ...message, key })).body.set).toBe('frankfurt');
    // A lane of that name has its home by its bucket, before and after.
    const lane = `a-${crypto.randomUUID()}`;
    const home = (await publish(lane, 0)).set;
    const others = ['hangzhou', 'frankfurt', 'virginia'].filter((set) => set !== home);
    for (const [n, set] of others.entries()) {
      expect([200, 201]).toContain(
        (await ask('PUT', lane, to(set, n > 0 ? { 'if-match': '*' } : {}))).status,
      );
      expect((await scene.client.publish({ ...message, key: lane })).body.set).toBe(set);
      expect((await publish(lane, n + 1)).set).toBe(home);
    }
    await scene.receiver.waitFor(() => effects(lane).length === 3, deadlineMs);
    expect(effects(lane)).toEqual([0, 1, 2]);
    const { body } = await scene.operator.get<{ pins: readonly object[] }>('/v1/routes');
    expect(body.pins).toContainEqual({ topic: 'events', key, set: 'frankfurt' });
    expect((await ask('DELETE', key)).status).toBe(428);
    expect((await ask('DELETE', key, { headers: { 'if-match': '*' } })).status).toBe(200);
    expect((await ask('DELETE', key, { headers: { 'if-match': '*' } })).status).toBe(404);
    expect((await ask('GET', key)).status).toBe(404);
    expect((await scene.client.publish({ ...message, key })).body.route.reason).not.toBe('pin');
  });

  it('and pins by command', async () => {
    const run = (...args: readonly string[]) => setwayRoutes(scene.deployment, ...args);
    expect(await run('pin', 'events', 'user-42', 'hangzhou')).toMatchObject({
      exitCode: 0,
      stdout: 'events user-42: hangzhou\n',
    });
    expect((await run('pin', 'events', 'user-42', 'frankfurt')).stdout).toBe(
      'events user-42: hangzhou → frankfurt\n',
    );
    expect((await run('pins')).stdout).toMatch(/^TOPIC +KEY +SET\n(.*\n)*events +user-42 +frankfurt\n/);
    expect((await run('unpin', 'events', 'user-42')).stdout).toBe('events user-42: not pinned any more\n');
    expect(await run('unpin', 'events', 'user-42')).toMatchObject({
      exitCode: 1,
      stderr: 'The key "user-42" is not pinned in topic "events".\n',
    });
  }, 60_000);
});
