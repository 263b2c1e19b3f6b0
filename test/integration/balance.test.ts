/** A SET that takes more than its capacity passes on what nothing binds to it, and nothing else. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities, type Published } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { setwaySets } from '../stack/setway.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 30_000;
const shanghai = at(cities.shanghai);
/** Of a bucket of hangzhou's. */
const key = 'a-2';

interface ShownSet {
  readonly id: string;
  readonly load?: number;
}

interface Explained {
  readonly steps: readonly { readonly rule: string; readonly says: string }[];
  readonly candidates: readonly {
    readonly set: string;
    readonly load?: number;
    readonly passedOver?: number;
  }[];
}

describe.each(platforms)('balance by load on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'balance', {
      listeners: { heard: {} },
      change: (seed) => ({
        ...seed,
        sets: seed.sets.map((set) => (set.id === 'hangzhou' ? { ...set, capacity: 1 } : set)),
        pins: [{ topic: 'events', key: 'vip', set: 'hangzhou' }],
      }),
      settings: { SETWAY_OPERATORS: 'demo' },
    });
    // As many at once as it should take in a quarter of an hour: more than its capacity for minutes to come.
    const message = { topic: 'events', tag: 'nobody', route: { set: 'hangzhou' }, body: 1 };
    const json = { 'content-type': 'application/json' };
    const many = JSON.stringify(Array.from({ length: 1_000 }, () => message));
    await scene.client.post('/v1/messages/bulk', many, json);
    const database = scene.deployment.databaseUrls['hangzhou'] ?? '';
    await until(
      deadlineMs,
      async () => (await query(database, 'SELECT FROM host WHERE rate > 1.2')).length > 0,
    );
    await scene.server.runCron('* * * * *');
    await until(deadlineMs, async () => (await loadOf('hangzhou')) !== undefined);
  }, 90_000);
  afterAll(() => scene.stop());

  const loadOf = async (set: string): Promise<number | undefined> => {
    const { body } = await scene.operator.get<{ sets: readonly ShownSet[] }>('/v1/sets');
    return body.sets.find(({ id }) => id === set)?.load;
  };
  /** `set:reason` of each of several messages. */
  const published = async (
    message: object,
    { times = 40, headers = shanghai }: { readonly times?: number; readonly headers?: typeof shanghai } = {},
  ): Promise<readonly string[]> => {
    const answers = await Promise.all(
      Array.from({ length: times }, () =>
        scene.client.publish<Published>({ topic: 'events', tag: 'heard', body: 1, ...message }, headers),
      ),
    );
    return answers.map(({ status, body }) => {
      expect(status).toBe(202);
      return `${body.set}:${body.route.reason}`;
    });
  };

  it('what nothing binds to it goes on to the next, and some of it stays', async () => {
    expect(await loadOf('hangzhou')).toBeGreaterThan(1.2);
    expect(await loadOf('frankfurt')).toBeUndefined();
    const went = await published({});
    // The chance to be passed over is 0.95: that 12 of 40 stay is less likely than once in ten million runs.
    expect(went.filter((each) => each === 'center:spill').length).toBeGreaterThan(28);
    expect(went.filter((each) => each !== 'center:spill' && each !== 'hangzhou:nearest')).toEqual([]);
  });

  it.each([
    ['what names it', { route: { set: 'hangzhou' } }, 'explicit'],
    ['a pinned key', { key: 'vip' }, 'pin'],
    ['a key of its buckets', { topic: 'payments', key }, 'key'],
    ['a lane of its buckets', { lane: key }, 'key'],
  ])('%s is never passed on', async (_, message, reason) => {
    expect(new Set(await published(message, { times: 10 }))).toEqual(new Set([`hangzhou:${reason}`]));
  });

  it('is told by the explanation of a route, by status and by metrics', async () => {
    const [latitude, longitude] = cities.shanghai;
    const { body } = await scene.operator.get<Explained>(
      `/v1/sets/route?topic=events&latitude=${latitude}&longitude=${longitude}`,
    );
    const nearest = body.steps.find(({ rule }) => rule === 'nearest')?.says;
    expect(nearest).toMatch(/its load is 1\.\d\d, so 95 % of such messages pass it over/);
    const told = body.candidates.find(({ set }) => set === 'hangzhou');
    expect(told?.load).toBeGreaterThan(1.2);
    expect(told?.passedOver).toBeCloseTo(0.95);
    const { stdout } = await setwaySets(scene.deployment, 'status', 'hangzhou');
    expect(stdout).toMatch(
      /^hangzhou \(unit 1\), active, weight 1, up to 1\/s, takes 1\.\d\/s, load 1\.\d\d$/m,
    );
    const metrics = (await scene.operator.get<string>('/metrics')).body;
    expect(metrics).toMatch(/^setway_set_load\{set="hangzhou"\} 1\.\d+$/m);
    expect(metrics).toMatch(/^setway_set_load\{set="virginia"\} NaN$/m);
  });

  it('a SET that is let in slowly gets its share, though it stands alone', async () => {
    const berlin = { headers: at(cities.berlin), times: 20 };
    const share = (part: number) =>
      scene.operator.send<{ share?: number }>('/v1/sets/frankfurt', {
        method: 'PATCH',
        body: JSON.stringify({ share: part }),
        headers: { 'content-type': 'application/json' },
      });
    const allBy = (reason: string) =>
      until(deadlineMs, async () =>
        (await published({}, berlin)).every((each) => each.endsWith(`:${reason}`)),
      );
    expect((await share(0.0001)).body.share).toBe(0.0001);
    await allBy('spill');
    expect(await published({ route: { set: 'frankfurt' } }, berlin)).toContain('frankfurt:explicit');
    expect((await share(1)).body).not.toHaveProperty('share');
    await allBy('nearest');
  });
});
