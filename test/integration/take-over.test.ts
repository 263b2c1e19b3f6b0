/**
 * A SET of two databases is taken over while its hosts live, by an operator over HTTP: everything it has goes to the sibling
 * that was named. Kills, sleep and lost databases: test/chaos/take-over.test.ts.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities, type Published } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

interface TakenOver {
  readonly database: string;
  readonly moved: number;
  readonly heir: string;
  readonly detail?: string;
}

interface Schedule {
  readonly id: string;
  readonly set: string;
  readonly lastRuns: readonly { readonly message: string }[];
}

const json = { 'content-type': 'application/json' };
/** Nothing is delivered while this is what comes back. */
const down = Array.from({ length: 1_000 }, () => ({ status: 503 }));

describe.each(platforms)('a take-over on $name', (platform) => {
  let scene: Scene;
  let databases: readonly string[];

  beforeAll(async () => {
    const { postgresUrl: second } = await useStack().createCorner('second-shard');
    scene = await openScene(platform, 'handed', {
      listeners: { held: { retryDelaysMs: Array.from({ length: 50 }, () => 1_000) } },
      settings: { SETWAY_OPERATORS: 'demo', SETWAY_CATALOG_MAX_AGE_MS: '200' },
      change: (seed) => ({
        ...seed,
        buckets: [{ from: 0, to: 16_383, set: 'hangzhou' }],
        sets: seed.sets.map((set) =>
          set.id === 'hangzhou' ? { ...set, databaseUrls: [...set.databaseUrls, second] } : set,
        ),
      }),
    });
    databases = [scene.deployment.databaseUrls['hangzhou'] ?? '', second];
  });
  afterAll(() => scene.stop());

  const post = async <T>(path: string, fields: object, status: number): Promise<T> => {
    const headers = { ...json, ...at(cities.shanghai) };
    const answer = await scene.operator.post<T>(path, JSON.stringify(fields), headers);
    expect(answer, path).toMatchObject({ status });
    return answer.body;
  };
  const publish = async (more: object): Promise<string> => {
    const message = { topic: 'events', tag: 'held', body: 1, ...more };
    const { id, set } = await post<Published>('/v1/messages', message, 202);
    expect(set).toBe('hangzhou');
    return id;
  };
  const takeOver = (fields: object, status = 200) =>
    post<TakenOver>('/v1/sets/hangzhou/take-over', fields, status);
  /** The ids in the order in which calls of the sibling for them came first. */
  const heard = (): readonly string[] => [
    ...new Set(
      scene.receiver.calls
        .filter(({ path, headers }) => path === '/held' && headers['setway-set'] === 'frankfurt')
        .map(({ headers }) => String(headers['webhook-id'])),
    ),
  ];

  it('moves messages, lanes, sequences, delays, callbacks and schedules of all its databases', async () => {
    scene.receiver.script('/held', down);
    const route = { set: 'hangzhou' };
    const lane: string[] = [];
    for (let n = 0; n < 5; n++) lane.push(await publish({ lane: 'user-1', body: n }));
    const plain: string[] = [];
    for (let n = 0; n < 8; n++) plain.push(await publish({ key: `user-${n}`, route }));
    const told = await publish({ route, callback: { success: `${scene.receiver.url}/told` } });
    const delayed = await publish({ route, deliverAfter: '8s' });
    const messages = [{ body: 1 }, { body: 2 }, { body: 3 }];
    const sequence = await post<{ readonly messages: readonly { readonly id: string }[] }>(
      '/v1/sequences',
      { topic: 'events', tag: 'held', route, messages },
      202,
    );
    const ordered = sequence.messages.map(({ id }) => id);
    const every = { cron: '* * * * * *', message: { topic: 'events', tag: 'nobody', body: 1 } };
    const schedule = await until(30_000, async () => {
      const made = await post<Schedule>('/v1/schedules', every, 201);
      return made.set === 'hangzhou' && made;
    });
    // Some were tried, and wait for their next attempt.
    await scene.receiver.waitFor((calls) => calls.length >= 10, 20_000);

    expect((await takeOver({ by: ['atlantis'] }, 409)).detail).toContain('atlantis');
    expect((await takeOver({ lanes: 'shut' }, 422)).detail).toBeTruthy();
    const { moved, ...answer } = await takeOver({ by: ['frankfurt'] });
    expect(answer).toEqual({ set: 'hangzhou', database: 'there', heir: 'frankfurt' });
    expect(moved).toBeGreaterThanOrEqual(lane.length + plain.length + ordered.length + 2);
    expect(await takeOver({ by: ['frankfurt'] }), 'again').toMatchObject({ moved: 0 });

    scene.receiver.script('/held', []);
    const all = [...lane, ...plain, ...ordered, told, delayed];
    await until(75_000, () => all.every((id) => heard().includes(id)));
    expect(heard().filter((id) => lane.includes(id))).toEqual(lane);
    expect(heard().filter((id) => ordered.includes(id))).toEqual(ordered);
    await until(20_000, () => scene.receiver.calls.some(({ path }) => path === '/told'));
    for (const url of databases) {
      expect(await query(url, 'SELECT FROM departure WHERE left_at IS NULL')).toEqual([]);
      expect(await query(url, 'SELECT FROM agenda')).toEqual([]);
    }
    const seen = await until(20_000, async () => {
      const { body } = await scene.operator.get<Schedule>(`/v1/schedules/${schedule.id}`);
      return body.set === 'frankfurt' && body.lastRuns.length > 0 && body;
    });
    const last = await scene.operator.message(seen.lastRuns[0]?.message ?? '', ({ set }) => set !== '');
    expect(last.set).toBe('frankfurt');
  }, 180_000);
});
