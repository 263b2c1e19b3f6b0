/** Replay: the content of a message, or all that a subscription heard, once more under new ids. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { originOf, parseMessageId } from '../../shared/identifier.ts';
import { at, areDeliveries, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { query } from '../stack/query.ts';
import { until } from '../stack/until.ts';

interface Replayed {
  readonly id: string;
  readonly state: string;
  readonly set: string;
  readonly replayOf: string;
  readonly duplicate: boolean;
}

const json = { 'content-type': 'application/json' };

describe.each(platforms)('replay on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'replay', {
      listeners: {
        plain: { bindings: ['plain', 'both', 'eu.*'] },
        other: { bindings: ['both'] },
      },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (tag: string, ...subscriptions: readonly string[]): Promise<string> => {
    const message = { topic: 'events', tag, key: 'user-7', headers: { 'x-shop': '7' }, body: { tag } };
    const { body } = await scene.operator.publish(message, at(cities.berlin));
    await scene.operator.message(body.id, areDeliveries('DONE', ...subscriptions));
    return body.id;
  };
  const replay = (id: string, request?: object, headers = {}, as = scene.operator) =>
    as.post<Replayed>(`/v1/messages/${id}/replay`, request ? JSON.stringify(request) : '', {
      ...(request ? json : {}),
      ...headers,
    });

  it('all that hear a message get its content again, as a new message of the same SET', async () => {
    const id = await publish('both', 'plain', 'other');
    const { status, headers, body } = await replay(id);
    expect({ status, body }).toMatchObject({
      status: 202,
      body: { state: 'stored', set: 'frankfurt', replayOf: id, duplicate: false },
    });
    expect(headers.get('location')).toBe(`/v1/messages/${body.id}`);
    expect(body.id).not.toBe(id);
    expect(originOf(parseMessageId(body.id))).toEqual(originOf(parseMessageId(id)));
    const copy = await scene.operator.message(
      body.id,
      (shown) => shown.state === 'CONFIRMED' && areDeliveries('DONE', 'plain', 'other')(shown),
    );
    expect(copy).toMatchObject({
      state: 'CONFIRMED',
      replayOf: id,
      tag: 'both',
      key: 'user-7',
      sendAttempts: 1,
    });
    const [first] = scene.receiver.callsOf(id, '/plain');
    const [second] = scene.receiver.callsOf(body.id, '/plain');
    expect(second?.body).toEqual(first?.body);
    expect(second?.headers['x-shop']).toBe('7');
    const original = await scene.operator.message(id, () => true);
    expect(original.timeline.at(-1)).toMatchObject({ change: 'replayed', by: 'demo', detail: body.id });
  });

  it('named subscriptions get it alone, and the broker never sees it', async () => {
    const id = await publish('both', 'plain', 'other');
    const { body } = await replay(id, { subscriptions: ['other', 'other'] });
    const copy = await scene.operator.message(body.id, areDeliveries('DONE', 'other'));
    expect(copy).toMatchObject({ state: 'CONFIRMED', sendAttempts: 0 });
    expect(copy.timeline.map(({ change }) => change)).toEqual(['accepted', 'stored', 'attempt']);
    expect(scene.receiver.callsOf(body.id).map(({ path }) => path)).toEqual(['/other']);
  });

  it('a subscription that did not hear it may be named as well', async () => {
    const id = await publish('plain', 'plain');
    const { body } = await replay(id, { subscriptions: ['other'] });
    await scene.operator.message(body.id, areDeliveries('DONE', 'other'));
    expect(scene.receiver.callsOf(body.id).map(({ path }) => path)).toEqual(['/other']);
  });

  it('the same Idempotency-Key replays once, whatever answer was lost', async () => {
    const id = await publish('plain', 'plain');
    const key = { 'idempotency-key': `again-${id}` };
    const answers = await Promise.all([replay(id, undefined, key), replay(id, undefined, key)]);
    const later = await replay(id, undefined, key);
    expect([...answers, later].map(({ status }) => status)).toEqual([202, 202, 202]);
    expect(new Set([...answers, later].map(({ body }) => body.id)).size).toBe(1);
    expect(answers.filter(({ body }) => body.duplicate)).toHaveLength(1);
    expect(later.body.duplicate).toBe(true);
    await scene.operator.message(later.body.id, areDeliveries('DONE', 'plain'));
    const other = await replay(id, { subscriptions: ['plain'] }, key);
    expect(other.status).toBe(422);
  });

  it("what was never sent, is somebody else's, or goes to nobody is refused", async () => {
    const id = await publish('plain', 'plain');
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    expect((await replay(id, undefined, {}, scene.stranger)).status).toBe(404);
    expect((await replay('msg_01h455vb4pex5vsknk084sn02q')).status).toBe(404);
    expect((await replay(id, { subscriptions: ['inventory'] })).status).toBe(422);
    expect((await replay(id, { subscriptions: [] })).status).toBe(422);
    expect((await replay(id, { subscription: 'plain' })).status).toBe(422);
    await query(
      database,
      "UPDATE message SET state = 'ROLLED_BACK' WHERE tag = 'plain' AND stored_at = (SELECT max(stored_at) FROM message)",
    );
    const { status, body } = await replay(id);
    expect({ status, body }).toMatchObject({ status: 409, body: { type: '/problems/conflict' } });
  });

  it('a subscription hears again what it heard since a time, each message once, and nobody else does', async () => {
    const from = new Date().toISOString();
    const ids = [
      await publish('eu.one', 'plain'),
      await publish('both', 'plain', 'other'),
      await publish('eu.two', 'plain'),
    ];
    await publish('nobody');
    const path = '/v1/subscriptions/plain/replay';
    const key = { ...json, 'idempotency-key': `replay-${from}` };
    const request = JSON.stringify({ from, ratePerSecond: 1000 });
    const begun = await scene.operator.post<{ id: string }>(path, request, key);
    expect(begun.status).toBe(202);
    const again = await scene.operator.post<{ id: string }>(path, request, key);
    expect(again.body.id).toBe(begun.body.id);
    const end = await until(20_000, async () => {
      const { body } = await scene.operator.get<{ state: string; handled: number }>(
        `/v1/redrives/${begun.body.id}`,
      );
      return body.state === 'done' && body;
    });
    expect(end.handled).toBe(3);
    const { body } = await scene.operator.get<{ messages: { id: string }[] }>(
      `/v1/messages?topic=events&from=${from}`,
    );
    const shown = await Promise.all(body.messages.map(({ id }) => scene.operator.message(id, () => true)));
    const copies = shown.filter(({ replayOf }) => replayOf !== null);
    expect(copies).toHaveLength(ids.length);
    expect(new Set(copies.map(({ replayOf }) => replayOf))).toEqual(new Set(ids));
    for (const { id } of copies) {
      await scene.operator.message(id, areDeliveries('DONE', 'plain'));
      expect(scene.receiver.callsOf(id).map(({ path: called }) => called)).toEqual(['/plain']);
    }
    // A replay repeats originals only, never the copies of an earlier one.
    const second = await scene.operator.post<{ id: string }>(path, request, json);
    const handled = await until(20_000, async () => {
      const answer = await scene.operator.get<{ state: string; handled: number }>(
        `/v1/redrives/${second.body.id}`,
      );
      return answer.body.state === 'done' && answer.body.handled;
    });
    expect(handled).toBe(3);
  });

  it.each([
    ['/v1/subscriptions/plain/replay', {}, 422],
    ['/v1/subscriptions/plain/replay', { from: 'yesterday' }, 422],
    ['/v1/subscriptions/nobody/replay', { from: '2026-01-01T00:00:00Z' }, 404],
  ])('%s with %j is refused', async (path, request, expected) => {
    expect((await scene.operator.post(path, JSON.stringify(request), json)).status).toBe(expected);
  });
});
