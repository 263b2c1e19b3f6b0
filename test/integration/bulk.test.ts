/** Many messages in one request: one commit per SET, a result each, and a retry that repeats nothing. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, type Published } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows, query } from '../stack/query.ts';

interface BulkAnswer {
  readonly results: readonly (Published & { readonly status: number })[];
}

const sets = ['hangzhou', 'frankfurt', 'virginia'] as const;

describe.each(platforms)('bulk on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'bulk', { listeners: { plain: {} } });
  });
  afterAll(() => scene.stop());

  const messageTo = (set: string, n: number) => ({
    topic: 'events',
    tag: 'plain',
    route: { set },
    body: { n },
  });
  const send = (body: string, headers: Record<string, string> = {}) =>
    scene.client.post<BulkAnswer>('/v1/messages/bulk', body, {
      'content-type': 'application/json',
      ...headers,
    });
  const stored = () => countRows(Object.values(scene.deployment.databaseUrls), 'message');

  it('stores what one SET takes in one commit, and delivers every message', async () => {
    const messages = Array.from({ length: 90 }, (_, n) => messageTo(sets[n % 3] ?? '', n));
    const { status, body } = await send(JSON.stringify(messages));
    expect(status).toBe(202);
    expect(body.results.map((result) => [result.status, result.set])).toEqual(
      messages.map(({ route }) => [202, route.set]),
    );
    for (const set of sets) {
      const rows = await query(
        scene.deployment.databaseUrls[set] ?? '',
        'SELECT count(*)::int AS messages, count(DISTINCT stored_at)::int AS commits FROM message',
      );
      expect(rows).toEqual([{ messages: 30, commits: 1 }]);
    }
    for (const [n, { id }] of body.results.entries()) {
      await scene.client.message(id, areDeliveries('DONE', 'plain'));
      const calls = scene.receiver.callsOf(id);
      expect(calls.map((call) => call.body.toString())).toEqual([`{"n":${n}}`]);
    }
  });

  it('takes lines as they come, refuses the bad ones, and waits for the confirms', async () => {
    const before = await stored();
    const lines = [messageTo('frankfurt', 1), { topic: 'nowhere', body: 1 }, messageTo('virginia', 2)];
    const text = [...lines.map((line) => JSON.stringify(line)), '{"topic":'].join('\n');
    const { body } = await send(text, { 'content-type': 'application/x-ndjson', prefer: 'wait=5' });
    expect(body.results.map(({ status, state }) => [status, state])).toEqual([
      [202, 'confirmed'],
      [404, undefined],
      [202, 'confirmed'],
      [400, undefined],
    ]);
    expect(await stored()).toBe(before + 2);
  });

  it('one that nobody can take is a dead letter, and the others are delivered', async () => {
    scene.receiver.script('/plain', [{ status: 422 }]);
    const { body } = await send(JSON.stringify([1, 2, 3].map((n) => messageTo('frankfurt', n))));
    const ends = await Promise.all(
      body.results.map(({ id }) => scene.client.message(id, ({ deliveries }) => deliveries[0] !== undefined)),
    );
    const states = ends.map(({ deliveries }) => deliveries[0]?.state ?? '');
    expect(states.toSorted((a, b) => a.localeCompare(b))).toEqual(['DEAD', 'DONE', 'DONE']);
    expect(body.results.map(({ id }) => scene.receiver.callsOf(id).length)).toEqual([1, 1, 1]);
  });

  it('takes fast messages beside stored ones', async () => {
    const fast = { ...messageTo('frankfurt', 7), mode: 'fast' };
    const { body } = await send(JSON.stringify([fast, messageTo('frankfurt', 8)]));
    expect(body.results.map(({ state }) => state)).toEqual(['sent', 'stored']);
    const [first] = body.results;
    await scene.receiver.waitFor(() => scene.receiver.callsOf(first?.id ?? '')[0], 20_000);
  });

  it('answers a repeated request with the first answer, also when it was never read', async () => {
    const before = await stored();
    const messages = Array.from({ length: 20 }, (_, n) => messageTo(sets[n % 3] ?? '', n));
    const request = JSON.stringify([...messages, { topic: 'orders' }]);
    const key = { 'idempotency-key': 'bulk-1', ...at(cities.berlin) };
    // Twice at once and once more: whichever is first, the others have lost its answer.
    const answers = [
      ...(await Promise.all([send(request, key), send(request, key)])),
      await send(request, key),
    ];
    const taken = answers.filter(({ status }) => status === 202).map(({ body }) => body.results);
    expect(answers.every(({ status }) => status === 202 || status === 409)).toBe(true);
    const ids = taken.map((results) => results.map(({ id }) => id));
    expect(ids).toEqual(ids.map(() => ids[0]));
    expect(taken.at(-1)?.map(({ status, duplicate }) => [status, duplicate])).toEqual([
      ...messages.map(() => [202, true]),
      [422, undefined],
    ]);
    expect(await stored()).toBe(before + 20);
    const other = JSON.stringify([...messages, messageTo('frankfurt', 99)]);
    expect((await send(other, key)).status).toBe(422);
    expect(await stored()).toBe(before + 20);
  });
});
