/**
 * Every send mode while the broker of its SET is away: accepted, delivered once when it is back. And sequences whose item
 * was lost behind the broker: sent again from the store, or, when it is not there either, decided by `onGap`, of which the
 * gap callback is told.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseMessageId, toUuid } from '../../shared/identifier.ts';
import { createWebhookSecret, verifyWebhook } from '../../shared/webhook/signature.ts';
import { areDeliveries, at, cities, type ShownMessage } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';

/** A connection that was cut is tried again after some seconds at most. */
const backMs = 20_000;
const secret = createWebhookSecret();
const set = 'frankfurt';

interface Accepted {
  readonly id: string;
  readonly session: string;
  readonly set: string;
  readonly messages: readonly { readonly id: string }[];
  readonly results: readonly { readonly id: string }[];
}

describe.each(platforms)('with the broker away, on $name', (platform) => {
  let proxy: TcpProxy;
  let scene: Scene;

  beforeAll(async () => {
    proxy = await startTcpProxy(useStack().amqpUrl);
    scene = await openScene(platform, 'away', {
      listeners: { plain: {} },
      settings: { SETWAY_CONFIRM_TIMEOUT_SECONDS: '1', SETWAY_RESEND_AFTER_SECONDS: '1' },
      change: (seed) => ({
        ...seed,
        sets: seed.sets.map((each) =>
          each.id === set ? { ...each, brokerUrls: each.brokerUrls.map((url) => proxy.through(url)) } : each,
        ),
        topics: seed.topics?.map((topic) =>
          topic.name === 'events' ? { ...topic, secrets: [secret] } : topic,
        ),
      }),
    });
  });
  afterEach(() => proxy.become('open'));
  afterAll(async () => {
    await scene.stop();
    await proxy.close();
  });

  const brokerIs = (state: 0 | 1): Promise<unknown> =>
    until(backMs, async () => {
      const { body } = await scene.operator.get<string>('/metrics');
      return body.includes(`setway_broker_state{set="${set}"} ${state}\n`);
    });
  /** Does something while the broker is away, and lets it come back. */
  const away = async <T>(work: () => Promise<T>): Promise<T> => {
    await brokerIs(1);
    proxy.become('closed');
    await brokerIs(0);
    const result = await work();
    proxy.become('open');
    return result;
  };
  const post = async (path: string, body: object, headers = {}): Promise<Accepted> => {
    const all = { 'content-type': 'application/json', ...at(cities.berlin), ...headers };
    const answer = await scene.client.post<Accepted>(path, JSON.stringify(body), all);
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
    return answer.body;
  };
  const step = (body: unknown): object => ({ topic: 'events', tag: 'plain', body });
  const delivered = (id: string): Promise<ShownMessage> =>
    scene.client.message(id, areDeliveries('DONE', 'plain'), backMs);
  const heard = (ids: readonly string[]): readonly string[] =>
    scene.receiver.calls.map(({ headers }) => String(headers['webhook-id'])).filter((id) => ids.includes(id));
  /** The name of a lane that lives in the SET of this test. */
  const laneHere = async (): Promise<string> => {
    for (;;) {
      const lane = `away-${crypto.randomUUID()}`;
      if ((await post('/v1/messages', { ...step('first'), lane })).set === set) return lane;
    }
  };
  const database = (): string => scene.deployment.databaseUrls[set] ?? '';
  const uuid = (id: string | undefined): string => toUuid(parseMessageId(id ?? ''));

  it('lanes, batches, bulks and decided transactions are accepted, and delivered once when it is back', async () => {
    const name = await laneHere();
    const prepared = await post('/v1/transactions', { messages: [step('half'), step('other half')] });
    const { lane, others } = await away(async () => {
      const inLane: string[] = [];
      for (const nth of [1, 2, 3]) inLane.push((await post('/v1/messages', { ...step(nth), lane: name })).id);
      const batch = await post('/v1/batches', {
        topic: 'events',
        tag: 'plain',
        messages: [{ body: 1 }, { body: 2 }],
      });
      const bulk = await post('/v1/messages/bulk', [step('a'), step('b')]);
      const committed = await scene.client.post(`/v1/transactions/${prepared.id}/commit`, '');
      expect(committed).toMatchObject({ status: 200, body: { state: 'committed' } });
      return { lane: inLane, others: [batch.id, ...bulk.results.map(({ id }) => id)] };
    });
    const ids = [...lane, ...others, ...prepared.messages.map(({ id }) => id)];
    expect(heard(ids)).toEqual([]);
    for (const id of ids) await delivered(id);
    expect(heard(ids).toSorted()).toEqual(ids.toSorted());
    expect(heard(lane)).toEqual(lane);
  });

  /** A sequence of three of which the second never reaches the broker, though the store believes it did. */
  const loseSecond = async (more: object): Promise<Accepted> => {
    const messages = ['1', '2', '3'].map((body) => ({ body }));
    const body = { topic: 'events', tag: 'plain', messages, deadline: 1, ...more };
    const accepted = await post('/v1/sequences', body);
    expect(accepted.set).toBe(set);
    const lost = uuid(accepted.messages[1]?.id);
    await query(database(), `UPDATE agenda SET refs = array_remove(refs, $1) WHERE kind = 'send'`, [lost]);
    await query(database(), `UPDATE message SET state = 'CONFIRMED', confirmed_at = now() WHERE id = $1`, [
      lost,
    ]);
    return accepted;
  };
  interface Progress {
    readonly subscriptions: readonly { readonly state: string; readonly missing: readonly number[] }[];
  }
  const progress = (session: string, state: string) =>
    until(backMs, async () => {
      const { body } = await scene.client.get<Progress>(`/v1/sequences/${session}`);
      return body.subscriptions.find((each) => each.state === state);
    });
  const callsTo = (path: string): readonly WebhookCall[] =>
    scene.receiver.calls.filter((call) => call.path === path);

  const policies = [
    ['skip', 'DONE', 'RELEASED', [0, 2]],
    ['abort', 'ABORTED', 'ABORTED', [0]],
    ['block', 'BLOCKED', 'BLOCKED', [0]],
  ] as const;

  it('an item that was lost is sent again from the store; one that is not there either is decided by onGap, and told', async () => {
    // A second try of this test has paths of its own.
    const run = `-${crypto.randomUUID()}`;
    const [found, ...gaps] = await away(async () => {
      const kept = await loseSecond({ onGap: 'skip', gapCallback: `${scene.receiver.url}/no-gap` });
      const lacking = await Promise.all(
        policies.map(async ([onGap]) => {
          scene.receiver.script(`/gap-${onGap}${run}`, [{ status: 503, headers: { 'retry-after': '1' } }]);
          const lost = await loseSecond({ onGap, gapCallback: `${scene.receiver.url}/gap-${onGap}${run}` });
          await query(database(), 'DELETE FROM message WHERE id = $1', [uuid(lost.messages[1]?.id)]);
          return lost;
        }),
      );
      return [kept, ...lacking] as const;
    });
    expect(await progress(found.session, 'DONE')).toMatchObject({ missing: [] });
    const all = found.messages.map(({ id }) => id);
    expect([...new Set(heard(all))]).toEqual(all);
    for (const [index, [onGap, state, decided, arrived]] of policies.entries()) {
      const { session = '', messages = [] } = gaps[index] ?? {};
      expect(await progress(session, state)).toMatchObject({ missing: [2] });
      const path = `/gap-${onGap}${run}`;
      await scene.receiver.waitFor(() => callsTo(path).length >= 2, backMs);
      expect(
        callsTo(path)
          .map(({ headers }) => headers['setway-attempt'])
          .slice(0, 2),
      ).toEqual(['1', '2']);
      expect(new Set(callsTo(path).map(({ headers }) => headers['webhook-id'])).size).toBe(1);
      for (const { headers, body } of callsTo(path)) {
        const get = (name: string): string => String(headers[name]);
        verifyWebhook(body, { get }, { secrets: [secret], nowSeconds: Date.now() / 1000 });
        expect(JSON.parse(body.toString())).toEqual({
          session,
          topic: 'events',
          subscription: 'plain',
          size: 3,
          why: 'missing',
          items: [{ sequence: 2, message: null }],
          onGap,
          state: decided,
          decidedAt: expect.any(String) as string,
        });
      }
      // It waits for nobody: the items before the gap, or beside it, were delivered.
      const ids = messages.map(({ id }) => id);
      await until(backMs, () => new Set(heard(ids)).size === arrived.length);
      expect([...new Set(heard(ids))]).toEqual(arrived.map((place) => ids[place]));
    }
    await until(backMs, async () => (await query(database(), 'SELECT FROM gap_callback')).length === 0);
    expect(await query(database(), "SELECT FROM agenda WHERE kind = 'gap'")).toEqual([]);
    expect(callsTo('/no-gap')).toEqual([]);
  });

  it('a dead item under skip is told of as well, and the rest goes on', async () => {
    scene.receiver.script('/plain', [{ status: 200 }, { status: 400 }]);
    const messages = ['1', '2', '3'].map((body) => ({ body }));
    const gapCallback = `${scene.receiver.url}/gap-dead`;
    const accepted = await post('/v1/sequences', {
      topic: 'events',
      tag: 'plain',
      messages,
      onGap: 'skip',
      gapCallback,
    });
    const call = await scene.receiver.waitFor(
      (calls) => calls.find(({ path }) => path === '/gap-dead'),
      backMs,
    );
    expect(JSON.parse(call.body.toString())).toMatchObject({
      why: 'dead',
      items: [{ sequence: 2, message: accepted.messages[1]?.id }],
      state: 'RELEASED',
    });
    await progress(accepted.session, 'DONE');
    const ids = accepted.messages.map(({ id }) => id);
    expect(heard(ids)).toEqual(ids);
  });

  it('a gap callback that could not be signed, or points to nowhere, is refused', async () => {
    const refused = async (more: object): Promise<unknown> => {
      const body = { topic: 'events', messages: [{ body: 1 }], ...more };
      return (
        await scene.client.post('/v1/sequences', JSON.stringify(body), { 'content-type': 'application/json' })
      ).body;
    };
    const gapCallback = `${scene.receiver.url}/gap`;
    expect(await refused({ topic: 'orders', gapCallback })).toMatchObject({
      status: 422,
      errors: [{ at: '/gapCallback' }],
    });
    expect(await refused({ gapCallback: 'ftp://127.0.0.1/gap' })).toMatchObject({
      status: 422,
      type: '/problems/destination-refused',
    });
    expect(await refused({ gapCallback: 7 })).toMatchObject({ status: 422 });
  });
});
