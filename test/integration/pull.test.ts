/** Consumers without a URL: they pull from every SET, hold what they got under a lease, and say what became of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, type Place, type Reply } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';

interface Pulled {
  readonly delivery: string;
  readonly id: string;
  readonly attempt: number;
  readonly set: string;
  readonly body?: unknown;
  readonly bodyBase64?: string;
}
interface Page {
  readonly messages: readonly Pulled[];
  readonly incomplete: readonly string[];
}
interface Settled {
  readonly results: readonly { readonly outcome: string; readonly state: string | null }[];
}

const pulled = { kind: 'pull', endpoint: undefined, secrets: undefined } as const;

describe.each(platforms)('pulling on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(platform, 'pull', {
      listeners: {
        jobs: pulled,
        crowd: pulled,
        fair: pulled,
        retried: { ...pulled, retryDelaysMs: [100] },
        waited: pulled,
        ordered: pulled,
        hook: {},
      },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (tag: string, place: Place = cities.berlin, more: object = {}): Promise<string> => {
    const { status, body } = await scene.client.publish(
      { topic: 'events', tag, body: { tag }, ...more },
      at(place),
    );
    expect(status).toBe(202);
    return body.id;
  };
  const ask = <T>(name: string, what: string, body: object): Promise<Reply<T>> =>
    scene.operator.post<T>(`/v1/subscriptions/${name}/${what}`, JSON.stringify(body), {
      'content-type': 'application/json',
    });
  const pull = async (name: string, body: object = {}): Promise<readonly Pulled[]> => {
    const reply = await ask<Page>(name, 'pull', body);
    expect(reply.status, JSON.stringify(reply.body)).toBe(200);
    expect(reply.body.incomplete).toEqual([]);
    return reply.body.messages;
  };
  const settle = async (name: string, what: string, of: readonly Pulled[], more: object = {}) => {
    const reply = await ask<Settled>(name, what, { ids: of.map(({ delivery }) => delivery), ...more });
    expect(reply.status, JSON.stringify(reply.body)).toBe(200);
    return reply.body.results.map(({ outcome, state }) => [outcome, state]);
  };
  /** Pulls until it has so many. */
  const pullAll = async (name: string, count: number, body: object = {}): Promise<readonly Pulled[]> => {
    const all: Pulled[] = [];
    const endMs = Date.now() + 20_000;
    while (all.length < count && Date.now() < endMs) all.push(...(await pull(name, { wait: 2, ...body })));
    return all;
  };

  it('hands out what every SET has, once, and ack ends it', async () => {
    const ids = await Promise.all(
      [cities.berlin, cities.shanghai, cities.newYork].map((place) => publish('jobs', place)),
    );
    const raw = await scene.client.post('/v1/topics/events/messages', new Uint8Array([0, 255]), {
      'content-type': 'application/octet-stream',
      'setway-tag': 'jobs',
      ...at(cities.berlin),
    });
    const got = await pullAll('jobs', 4);
    expect(got.map(({ id }) => id).toSorted()).toEqual([...ids, raw.body.id].toSorted());
    expect(new Set(got.map(({ set }) => set)).size).toBe(3);
    expect(got.find(({ id }) => id === ids[0])).toMatchObject({
      attempt: 1,
      topic: 'events',
      body: { tag: 'jobs' },
    });
    expect(got.find(({ id }) => id === raw.body.id)).toMatchObject({ bodyBase64: 'AP8=' });
    expect(await pull('jobs')).toEqual([]);
    await scene.client.message(ids[0] ?? '', areDeliveries('LEASED', 'jobs'));
    const done = got.map(() => ['ok', 'DONE']);
    expect(await settle('jobs', 'ack', got)).toEqual(done);
    expect(await settle('jobs', 'ack', got)).toEqual(done);
    expect(await settle('jobs', 'nack', got)).toEqual(got.map(() => ['too-late', 'DONE']));
    await Promise.all(got.map(({ id }) => scene.client.message(id, areDeliveries('DONE', 'jobs'))));
  });

  it('never hands one message to two pullers at once', async () => {
    const ids = await Promise.all(Array.from({ length: 60 }, () => publish('crowd')));
    const got: Pulled[] = [];
    const puller = async (): Promise<void> => {
      const endMs = Date.now() + 20_000;
      while (got.length < ids.length && Date.now() < endMs)
        got.push(...(await pull('crowd', { max: 7, wait: 1 })));
    };
    await Promise.all([puller(), puller(), puller(), puller()]);
    expect(got.map(({ id }) => id).toSorted()).toEqual([...ids].toSorted());
  });

  it('gives each SET its share, however much the others have', async () => {
    const common = await Promise.all(Array.from({ length: 30 }, () => publish('fair')));
    const rare = await publish('fair', cities.shanghai);
    for (const id of [...common, rare]) await scene.client.message(id, ({ state }) => state === 'CONFIRMED');
    const got = await pull('fair', { max: 20, wait: 5 });
    expect(got.length).toBeGreaterThan(1);
    expect(got.map(({ id }) => id)).toContain(rare);
  });

  it('hands out again what failed, by the schedule, and then no more', async () => {
    const id = await publish('retried');
    const first = await pullAll('retried', 1);
    expect(await settle('retried', 'nack', first, { error: 'out of paper' })).toEqual([['ok', 'RETRY']]);
    const second = await pullAll('retried', 1);
    expect(second).toMatchObject([{ id, attempt: 2 }]);
    expect(second[0]?.delivery).not.toBe(first[0]?.delivery);
    expect(await settle('retried', 'extend', first)).toEqual([['too-late', 'LEASED']]);
    expect(await settle('retried', 'nack', second)).toEqual([['ok', 'DEAD']]);
    const { deliveries } = await scene.client.message(id, areDeliveries('DEAD', 'retried'));
    expect(deliveries[0]?.attempts).toMatchObject([
      { attempt: 1, outcome: 'LEASED' },
      { attempt: 1, outcome: 'RETRY', error: 'out of paper' },
      { attempt: 2, outcome: 'LEASED' },
      { attempt: 2, outcome: 'DEAD' },
    ]);
  });

  it('hands out again what nobody answered for; whoever had it first may still say that it is done', async () => {
    const id = await publish('retried');
    const first = await pullAll('retried', 1, { lease: '1s' });
    const second = await pullAll('retried', 1);
    expect(second).toMatchObject([{ id, attempt: 2 }]);
    expect(await settle('retried', 'nack', first)).toEqual([['too-late', 'LEASED']]);
    expect(await settle('retried', 'ack', first)).toEqual([['ok', 'DONE']]);
    expect(await settle('retried', 'ack', second)).toEqual([['ok', 'DONE']]);
  });

  it('waits for a first message, and leases nothing when it gives up', async () => {
    const early = await ask<Page>('waited', 'pull', { wait: '1s' });
    expect(early.body.messages).toEqual([]);
    const waiting = pull('waited', { wait: '20s' });
    const id = await publish('waited', cities.newYork);
    expect(await waiting).toMatchObject([{ id, attempt: 1 }]);
  });

  it('hands out the next of a lane only after the one before is acked', async () => {
    const lane = crypto.randomUUID();
    const first = await publish('ordered', cities.berlin, { lane });
    const second = await publish('ordered', cities.berlin, { lane });
    const head = await pullAll('ordered', 1);
    expect(head).toMatchObject([{ id: first, order: { lane } }]);
    expect(await pull('ordered', { wait: 1 })).toEqual([]);
    expect(await settle('ordered', 'nack', head, { retryAfter: 0 })).toEqual([['ok', 'RETRY']]);
    const again = await pullAll('ordered', 1);
    expect(again).toMatchObject([{ id: first, attempt: 2 }]);
    await settle('ordered', 'ack', again);
    expect(await pullAll('ordered', 1)).toMatchObject([{ id: second, attempt: 1 }]);
  });

  it('refuses whom it is not meant for, and what breaks a rule', async () => {
    const asStranger = await scene.stranger.post('/v1/subscriptions/jobs/pull', '{}', {
      'content-type': 'application/json',
    });
    const asReader = await scene.client.post('/v1/subscriptions/jobs/pull', '{}', {
      'content-type': 'application/json',
    });
    const ofHook = await ask('hook', 'pull', {});
    const ofNone = await ask('none', 'pull', {});
    expect([asStranger, asReader, ofHook, ofNone].map(({ status }) => status)).toEqual([404, 403, 409, 404]);
    for (const body of [
      { max: 0 },
      { max: 101 },
      { wait: '21s' },
      { lease: '25h' },
      { lease: 0 },
      { most: 1 },
    ])
      expect((await ask('jobs', 'pull', body)).status).toBe(422);
    await publish('crowd');
    const [other] = await pullAll('crowd', 1);
    const bad = await ask<Settled>('jobs', 'ack', { ids: ['dlv_x', other?.delivery] });
    expect(bad.body.results.map(({ outcome }) => outcome)).toEqual(['unknown', 'unknown']);
    expect((await ask('jobs', 'ack', {})).status).toBe(422);
  });
});
