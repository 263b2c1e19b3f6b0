/** Filters on headers and body: who hears what, in every way a delivery can begin. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { countRows } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 20_000;
const json = { 'content-type': 'application/json' };

describe.each(platforms)('filters on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'filters', {
      listeners: {
        all: { bindings: ['#'] },
        large: { bindings: ['#'], filter: 'body.total >= 100 && headers["x-region"] == "eu"' },
        pulled: { kind: 'pull', endpoint: undefined, secrets: undefined, filter: 'body.total >= 100' },
        whole: { bindings: ['together'], filter: 'body.total >= 100', ordered: 'together' },
      },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (total: unknown, more: object = {}): Promise<string> => {
    const message = {
      topic: 'events',
      tag: 'plain',
      headers: { 'x-region': 'eu' },
      body: { total },
      ...more,
    };
    const { status, body } = await scene.client.publish(message, at(cities.berlin));
    expect(status, JSON.stringify(body)).toBe(202);
    return body.id;
  };
  const totals = (path: string, header: string, value: string): readonly number[] =>
    scene.receiver.calls
      .filter((call) => call.path === path && call.headers[header] === value)
      .flatMap(({ body }) => JSON.parse(body.toString()) as { readonly total: number })
      .map(({ total }) => total);
  const filtered = async (): Promise<number> => {
    const { body } = await scene.operator.get<string>('/metrics');
    const lines = body.match(/^setway_filtered_total\{.*subscription="large"\} (\d+)$/gm) ?? [];
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  };

  it('a message that a filter leaves out is not called for, has no row, and is counted', async () => {
    const before = await filtered();
    const loud = await publish(150);
    await scene.client.message(loud, areDeliveries('DONE', 'all', 'large'));
    const quiet = [await publish(50), await publish('150'), await publish(150, { headers: {} })];
    for (const id of quiet) await scene.client.message(id, areDeliveries('DONE', 'all'));
    await until(deadlineMs, async () => (await filtered()) === before + quiet.length);
    for (const id of quiet) expect(scene.receiver.callsOf(id, '/large')).toEqual([]);
    const large = "subscription = 'large'";
    expect(await countRows(Object.values(scene.deployment.databaseUrls), 'delivery', large)).toBe(1);
  });

  it('fast messages and replays past the broker are asked as well', async () => {
    const fast = [await publish(1, { mode: 'fast' }), await publish(200, { mode: 'fast' })];
    await scene.receiver.waitFor(() => scene.receiver.callsOf(fast[1] ?? '', '/large')[0], deadlineMs);
    await scene.receiver.waitFor(() => scene.receiver.callsOf(fast[0] ?? '', '/all')[0], deadlineMs);
    expect(scene.receiver.callsOf(fast[0] ?? '', '/large')).toEqual([]);

    const before = await filtered();
    const quiet = await publish(2);
    await scene.client.message(quiet, areDeliveries('DONE', 'all'));
    const request = JSON.stringify({ subscriptions: ['all', 'large'] });
    const { body } = await scene.operator.post(`/v1/messages/${quiet}/replay`, request, json);
    await scene.client.message(body.id, areDeliveries('DONE', 'all'));
    await until(deadlineMs, async () => (await filtered()) === before + 2);
    expect(scene.receiver.callsOf(body.id, '/large')).toEqual([]);
    await until(deadlineMs, async () => {
      const urls = Object.values(scene.deployment.databaseUrls);
      return (await countRows(urls, 'agenda', "kind = 'redeliver'")) === 0;
    });
  });

  it('what is pulled is asked as well, in a lane too', async () => {
    const lane = { tag: 'pulled', lane: crypto.randomUUID() };
    const wanted = new Set([await publish(100, { tag: 'pulled' }), await publish(300, lane)]);
    await publish(1, { tag: 'pulled' });
    await publish(2, lane);
    wanted.add(await publish(400, lane));
    const got = new Set<string>();
    await until(deadlineMs, async () => {
      const request = JSON.stringify({ max: 10, wait: '1s' });
      const { body } = await scene.operator.post<{
        readonly messages: readonly { readonly id: string; readonly delivery: string }[];
      }>('/v1/subscriptions/pulled/pull', request, json);
      for (const { id } of body.messages) got.add(id);
      const ids = body.messages.map(({ delivery }) => delivery);
      if (ids.length > 0)
        await scene.operator.post('/v1/subscriptions/pulled/ack', JSON.stringify({ ids }), json);
      return got.size >= wanted.size;
    });
    expect(got).toEqual(wanted);
  });

  it('a lane goes on behind an item that is left out', async () => {
    const lane = `lane-${platform.name}`;
    for (const total of [101, 1, 2, 102, 3]) await publish(total, { lane });
    await scene.receiver.waitFor(() => totals('/all', 'setway-lane', lane).length === 5, deadlineMs);
    await scene.receiver.waitFor(() => totals('/large', 'setway-lane', lane).length === 2, deadlineMs);
    expect(totals('/large', 'setway-lane', lane)).toEqual([101, 102]);
    await until(deadlineMs, async () => {
      const urls = Object.values(scene.deployment.databaseUrls);
      return (await countRows(urls, 'agenda', "kind = 'order'")) === 0;
    });
  });

  it.each([
    ['plain', 'large', [100, 101]],
    ['together', 'whole', [100, 101]],
  ])('an item of a sequence that is left out counts as done: %s', async (tag, name, expected) => {
    const steps = [1, 100, 2, 101, 3].map((total) => ({
      headers: { 'x-region': 'eu' },
      body: { total },
    }));
    const sequence = JSON.stringify({ topic: 'events', tag, messages: steps });
    const { status, body } = await scene.client.post<{ readonly session: string }>(
      '/v1/sequences',
      sequence,
      {
        ...json,
        ...at(cities.berlin),
      },
    );
    expect(status, JSON.stringify(body)).toBe(202);
    const deliveries = await until(deadlineMs, async () => {
      const found = await scene.client.get<{ readonly subscriptions: readonly Progress[] }>(
        `/v1/sequences/${body.session}`,
      );
      const own = found.body.subscriptions.find(({ subscription }) => subscription === name);
      return own?.state === 'DONE' && own.deliveries;
    });
    expect(deliveries).toEqual({ DONE: 2, SKIPPED: 3 });
    const heard = scene.receiver.calls
      .filter((call) => call.path === `/${name}` && call.headers['setway-session'] === body.session)
      .flatMap((call) => JSON.parse(call.body.toString()) as unknown)
      .map((item) => item as { readonly total?: number; readonly body?: { readonly total: number } })
      .map(({ total, body: inner }) => total ?? inner?.total);
    expect(heard).toEqual(expected);
  });
});

interface Progress {
  readonly subscription: string;
  readonly state: string;
  readonly deliveries: Readonly<Record<string, number>>;
}
