/** RabbitMQ follows the catalog while messages flow: nothing lost, and nobody who is not concerned notices. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, type Client, type Reply } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { countConsumers, countWaiting } from '../stack/queue.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

interface State {
  readonly status: string;
  readonly stopped: readonly { readonly set: string; readonly reason: string }[];
}

const json = { 'content-type': 'application/json' };
const settledMs = 20_000;

describe.each(platforms)('a topology that changes on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    const listeners = { steady: { bindings: ['steady.#'] }, gone: {}, moving: { bindings: ['old'] } };
    scene = await openScene(platform, 'topology', { listeners });
  });
  afterAll(() => scene.stop());

  const vhost = (): string => scene.deployment.brokerUrls['frankfurt'] ?? '';
  const publish = async (client: Client, tag: string): Promise<string> => {
    const message = { topic: 'events', tag, body: { tag } };
    const { status, body } = await client.publish(message, at(cities.berlin));
    expect(status).toBe(202);
    return body.id;
  };
  const ask = <T = State>(method: string, path: string, fields?: object): Promise<Reply<T>> =>
    scene.operator.send<T>(`/v1/subscriptions${path}`, {
      method,
      headers: { ...json, 'if-match': '*' },
      ...(fields === undefined ? {} : { body: JSON.stringify(fields) }),
    });
  const create = (name: string, bindings: readonly string[]) =>
    ask('POST', '', { name, topic: 'events', bindings, endpoint: { url: `${scene.receiver.url}/${name}` } });
  const heard = (path: string, ids: readonly string[]): Promise<unknown> =>
    scene.receiver.waitFor(
      (calls) =>
        ids.every((id) => calls.some((call) => call.path === path && call.headers['webhook-id'] === id)),
      settledMs,
    );
  const isThere = (queue: string): Promise<boolean> =>
    countWaiting(vhost(), queue).then(
      () => true,
      () => false,
    );
  const consumers = (queue: string, count: number) =>
    until(settledMs, async () => (await countConsumers(vhost(), queue)) === count);
  /** Publishes to a tag until its subscription hears one: from then on it must hear all. */
  const untilHeard = (path: string, tag: string) =>
    until(settledMs, async () => {
      await publish(scene.client, tag);
      return scene.receiver.calls.some((call) => call.path === path);
    });

  it('loses and doubles nothing of those who stay, whatever becomes of the others', async () => {
    const ids: string[] = [];
    let isOver = false;
    const traffic = (async () => {
      for (let count = 0; !isOver; count++) ids.push(await publish(scene.client, `steady.${count}`));
    })();
    const bound = await ask('PATCH', '/moving', { bindings: ['new'] });
    expect(bound.status).toBe(200);
    expect((await create('late', ['steady.#', 'late'])).status).toBe(201);
    await untilHeard('/late', 'late');
    const from = ids.length;
    await untilHeard('/moving', 'new');
    expect((await ask('POST', '/late/pause', { reason: 'to look' })).body).toMatchObject({
      status: 'paused',
      statusReason: 'to look',
    });
    await consumers('setway.sub.late', 0);
    // Another queue takes over: what the old one holds is moved there.
    expect((await ask('PATCH', '/late', { maxLength: 100_000 })).status).toBe(200);
    await until(settledMs, async () => !(await isThere('setway.sub.late')));
    const waiting = 'setway.sub.late~max-100000';
    expect(await countWaiting(vhost(), waiting)).toBeGreaterThan(0);
    expect((await ask('POST', '/late/resume')).body).toMatchObject({ status: 'active', stopped: [] });
    await consumers(waiting, 1);
    expect((await ask('DELETE', '/moving')).status).toBe(200);
    await until(settledMs, async () => !(await isThere('setway.sub.moving')));
    isOver = true;
    await traffic;
    expect(ids.length).toBeGreaterThan(from);
    await heard('/steady', ids);
    await heard('/late', ids.slice(from));
    const once = ids.filter((id) => scene.receiver.callsOf(id, '/steady').length === 1);
    expect(once).toHaveLength(ids.length);
  });

  it('keeps what a deleted subscription had waiting, until it is discarded', async () => {
    await create('held', ['held']);
    await untilHeard('/held', 'held');
    await ask('POST', '/held/pause');
    await consumers('setway.sub.held', 0);
    const ids = [await publish(scene.client, 'held'), await publish(scene.client, 'held')];
    await until(settledMs, async () => (await countWaiting(vhost(), 'setway.sub.held')) >= 2);
    await ask('DELETE', '/held');
    const unbound = await publish(scene.client, 'held');
    await create('held', ['held']);
    await heard('/held', ids);
    await ask('POST', '/held/pause');
    await consumers('setway.sub.held', 0);
    await publish(scene.client, 'held');
    await until(settledMs, async () => (await countWaiting(vhost(), 'setway.sub.held')) >= 1);
    await ask('DELETE', '/held?discard=true');
    await until(settledMs, async () => !(await isThere('setway.sub.held')));
    expect(unbound).toBeTruthy();
  });

  it('says why a SET stopped a subscription, and a resume lets it go on', async () => {
    scene.receiver.script('/gone', [{ status: 410 }]);
    await scene.client.message(await publish(scene.client, 'gone'), areDeliveries('DEAD', 'gone'));
    const body = await until(settledMs, async () => {
      const shown = await scene.operator.get<State>('/v1/subscriptions/gone');
      return shown.body.stopped.length > 0 && shown.body;
    });
    expect(body).toMatchObject({ status: 'disabled', stopped: [{ set: 'frankfurt', reason: 'HTTP 410' }] });
    const id = await publish(scene.client, 'gone');
    expect((await ask('POST', '/gone/resume')).body).toMatchObject({ status: 'active', stopped: [] });
    await scene.client.message(id, areDeliveries('DONE', 'gone'));
  });

  it('changes the type of a topic nobody hears', async () => {
    const topic = { method: 'POST', headers: json, body: JSON.stringify({ name: 'shifty', type: 'fanout' }) };
    expect((await scene.operator.send('/v1/topics', topic)).status).toBe(201);
    const change = { method: 'PATCH', headers: { ...json, 'if-match': '*' }, body: '{"type":"direct"}' };
    expect((await scene.operator.send('/v1/topics/shifty', change)).status).toBe(200);
    const endpoint = { url: `${scene.receiver.url}/shifty` };
    expect(
      (await ask('POST', '', { name: 'shifty', topic: 'shifty', bindings: ['a'], endpoint })).status,
    ).toBe(201);
    const message = { topic: 'shifty', body: 1 };
    await until(settledMs, async () => {
      await scene.client.publish({ ...message, tag: 'b' }, at(cities.berlin));
      await scene.client.publish({ ...message, tag: 'a' }, at(cities.berlin));
      return scene.receiver.calls.some(({ path }) => path === '/shifty');
    });
    const tags = scene.receiver.calls.filter(({ path }) => path === '/shifty');
    expect(new Set(tags.map(({ headers }) => headers['setway-tag']))).toEqual(new Set(['a']));
  });
});
