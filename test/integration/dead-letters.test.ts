/** Dead letters are listed and tried again: by ids, by filter, all; at a bounded rate, through crashes, twice at once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, areDeliveries, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { query } from '../stack/query.ts';
import { until } from '../stack/until.ts';

interface Letters {
  readonly deadLetters: readonly {
    readonly id: string;
    readonly subscription: string;
    readonly set: string;
    readonly status: number;
    readonly error: string;
    readonly attempts: number;
  }[];
  readonly next?: string;
  readonly incomplete: readonly string[];
}
interface Redrive {
  readonly id: string;
  readonly state: string;
  readonly handled: number;
  readonly incomplete: readonly string[];
}

const json = { 'content-type': 'application/json' };

describe.each(platforms)('dead letters on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'dead', {
      listeners: {
        broken: { retryDelaysMs: [] },
        refusing: { retryDelaysMs: [] },
        stubborn: { retryDelaysMs: [] },
        crowd: { retryDelaysMs: [] },
      },
    });
  });
  afterAll(() => scene.stop());

  /** Messages that died at a listener, oldest death first. */
  const dead = async (tag: string, answers: readonly { status: number; body?: string }[]) => {
    const places = [cities.berlin, cities.shanghai] as const;
    const ids: string[] = [];
    for (const [index, answer] of answers.entries()) {
      scene.receiver.script(`/${tag}`, [answer]);
      const place = at(places[index % 2] ?? cities.berlin);
      const { body } = await scene.client.publish({ topic: 'events', tag, body: index }, place);
      await scene.client.message(body.id, areDeliveries('DEAD', tag));
      ids.push(body.id);
    }
    return ids;
  };
  const list = async (parameters: string, as = scene.client): Promise<Letters> => {
    const { status, body } = await as.get<Letters>(`/v1/dead-letters?${parameters}`);
    expect({ status, body }).toMatchObject({ status: 200 });
    return body;
  };
  const redrive = async (request: object, headers = {}, as = scene.operator) =>
    as.post<Redrive>('/v1/dead-letters/redrive', JSON.stringify(request), { ...json, ...headers });
  const done = (id: string): Promise<Redrive> =>
    until(20_000, async () => {
      const { body } = await scene.client.get<Redrive>(`/v1/redrives/${id}`);
      return body.state === 'done' && body;
    });

  it('are listed over all SETs, the newest death first, page by page', async () => {
    const ids = await dead('broken', [
      { status: 503, body: 'one' },
      { status: 500, body: 'two' },
      { status: 418, body: 'three' },
    ]);
    const first = await list('subscription=broken&limit=2');
    expect(first.deadLetters.map(({ id }) => id)).toEqual([ids[2], ids[1]]);
    expect(first.deadLetters[0]).toMatchObject({
      subscription: 'broken',
      status: 418,
      error: 'HTTP 418: three',
      attempts: 1,
    });
    const second = await list(`subscription=broken&limit=2&cursor=${first.next}`);
    expect(second.deadLetters.map(({ id, set }) => [id, set])).toEqual([[ids[0], 'frankfurt']]);
    expect(second.next).toBeUndefined();
    expect((await list('error=TWO')).deadLetters.map(({ id }) => id)).toEqual([ids[1]]);
    expect((await list('topic=orders')).deadLetters).toEqual([]);
    expect((await list('to=2020-01-01T00:00:00Z')).deadLetters).toEqual([]);
    expect((await list('subscription=broken', scene.stranger)).deadLetters).toEqual([]);
  });

  it('named ones are tried again with a fresh schedule, the others are left', async () => {
    const [first = '', second = ''] = await dead('refusing', [{ status: 400 }, { status: 400 }]);
    const { status, headers, body } = await redrive({ ids: [first] });
    expect({ status, body }).toMatchObject({ status: 202, body: { incomplete: [] } });
    expect(headers.get('location')).toBe(`/v1/redrives/${body.id}`);
    const message = await scene.client.message(first, areDeliveries('DONE', 'refusing'));
    expect(message.deliveries[0]?.attempts.map(({ attempt, outcome }) => [attempt, outcome])).toEqual([
      [1, 'DEAD'],
      [1, 'DONE'],
    ]);
    expect(message.timeline.map(({ change }) => change).slice(-3)).toEqual([
      'attempt',
      'redriven',
      'attempt',
    ]);
    expect(await done(body.id)).toMatchObject({ handled: 1, incomplete: [] });
    expect((await list('subscription=refusing')).deadLetters.map(({ id }) => id)).toEqual([second]);
  });

  it('what dies again during a redrive stays dead: it had its chance', async () => {
    const [id = ''] = await dead('stubborn', [{ status: 400 }]);
    scene.receiver.script('/stubborn', [{ status: 400 }]);
    const { body } = await redrive({ filter: { subscription: 'stubborn' } });
    await until(20_000, () => scene.receiver.callsOf(id).length === 2);
    expect(await done(body.id)).toMatchObject({ handled: 1 });
    await scene.client.message(id, areDeliveries('DEAD', 'stubborn'));
    expect(scene.receiver.callsOf(id)).toHaveLength(2);
  });

  it('a repeated request goes on with the same redrive, two different ones share what there is', async () => {
    const ids = await dead('crowd', [{ status: 400 }, { status: 400 }, { status: 400 }, { status: 400 }]);
    const key = { 'idempotency-key': 'once' };
    const request = { filter: { subscription: 'crowd' }, ratePerSecond: 100 };
    const begun = await Promise.all([
      redrive(request, key),
      redrive(request, key),
      redrive(request),
      redrive(request),
    ]);
    expect(begun.map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    expect(begun[1]?.body.id).toBe(begun[0]?.body.id);
    const ends = await Promise.all(begun.slice(1).map(({ body }) => done(body.id)));
    expect(ends.reduce((sum, { handled }) => sum + handled, 0)).toBe(ids.length);
    await Promise.all(ids.map((id) => scene.client.message(id, areDeliveries('DONE', 'crowd'))));
    expect(ids.map((id) => scene.receiver.callsOf(id).length)).toEqual(ids.map(() => 2));
    const other = await redrive({ all: true }, key);
    expect(other.status).toBe(422);
  });

  it('somebody else sees no redrive, and begins none of what is not theirs', async () => {
    const [id = ''] = await dead('refusing', [{ status: 400 }]);
    const { body } = await redrive({ ids: [id] }, {}, scene.stranger);
    const own = await until(20_000, async () => {
      const answer = await scene.stranger.get<Redrive>(`/v1/redrives/${body.id}`);
      return answer.body.state === 'done' && answer.body;
    });
    expect(own.handled).toBe(0);
    expect((await scene.client.get(`/v1/redrives/${body.id}`)).status).toBe(404);
    expect(scene.receiver.callsOf(id)).toHaveLength(1);
  });

  it.each([
    [{}, 422],
    [{ all: true, ids: ['msg_01h455vb4pex5vsknk084sn02q'] }, 422],
    [{ all: false }, 422],
    [{ ids: [] }, 422],
    [{ ids: ['x'] }, 422],
    [{ filter: { nothing: 1 } }, 422],
    [{ filter: { from: 'now' } }, 422],
    [{ all: true, ratePerSecond: 0 }, 422],
    [{ al: true }, 422],
  ])('%j is refused', async (request, expected) => {
    expect((await redrive(request)).status).toBe(expected);
  });

  it('needs the scope manage, and a redrive that exists', async () => {
    expect((await redrive({ all: true }, {}, scene.client)).status).toBe(403);
    expect((await scene.client.get('/v1/redrives/rdr_01h455vb4pex5vsknk084sn02q')).status).toBe(404);
    expect((await scene.client.get('/v1/redrives/nothing')).status).toBe(404);
    expect((await scene.client.get('/v1/dead-letters?cursor=xx')).status).toBe(422);
  });

  it('a SET where the redrive was lost begins it when the request is repeated', async () => {
    const [id = ''] = await dead('refusing', [{ status: 400 }]);
    const key = { 'idempotency-key': 'lost' };
    const { body } = await redrive({ ids: [id] }, key);
    await done(body.id);
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    // As if this SET had been away at the first request.
    await query(database, 'DELETE FROM redrive');
    await query(
      database,
      "UPDATE delivery SET state = 'DEAD', updated_at = now() WHERE subscription = 'refusing'",
    );
    const again = await redrive({ ids: [id] }, key);
    expect(again.body.id).toBe(body.id);
    await until(20_000, () => scene.receiver.callsOf(id).length === 3);
  });
});
