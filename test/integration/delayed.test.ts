/** Delayed messages: at their time and never early, listed, cancelled, moved, expired, and released without any host. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { releaseWithin } from '../../scheduled/release-delayed.ts';
import { republish } from '../../scheduled/republish.ts';
import { parseMessageId, toUuid } from '../../shared/identifier.ts';
import { areDeliveries, createClient, type Published, type Reply } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess, type JobProcess } from '../stack/job-process.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows, query } from '../stack/query.ts';
import { countWaiting } from '../stack/queue.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

interface Changed {
  readonly id: string;
  readonly state: string;
  readonly deliverAt: string;
  readonly detail?: string;
}

interface Page {
  readonly messages: readonly { readonly id: string; readonly set: string; readonly deliverAt: string }[];
  readonly next?: string;
  readonly incomplete: readonly string[];
}

const json = { 'content-type': 'application/json' };
const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();

describe.each(platforms)('delayed messages on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'delayed', {
      listeners: { plain: {}, late: { retryDelaysMs: [2_000] } },
    });
  });
  afterAll(() => scene.stop());

  const publish = (more: object, headers = {}): Promise<Reply<Published>> =>
    scene.client.publish(
      { topic: 'events', tag: 'plain', route: { set: 'frankfurt' }, body: 1, ...more },
      headers,
    );
  const cancel = (id: string, by = scene.client) =>
    by.send<Changed>(`/v1/messages/${id}`, { method: 'DELETE' });
  const move = (id: string, times: object, by = scene.client) =>
    by.send<Changed>(`/v1/messages/${id}`, { method: 'PATCH', headers: json, body: JSON.stringify(times) });
  const arrived = (id: string) => scene.receiver.waitFor(() => scene.receiver.callsOf(id)[0], 20_000);
  const events = async (set: string, ...ids: readonly string[]): Promise<readonly unknown[]> => {
    const rows = await query(
      scene.deployment.databaseUrls[set] ?? '',
      'SELECT change FROM message_event WHERE message_id = ANY($1) ORDER BY at',
      [ids.map((id) => toUuid(parseMessageId(id)))],
    );
    return rows.map((row) => row['change']);
  };

  // These mostly wait, each in a SET of its own: they do it beside each other.
  it.concurrent('arrive at their time, never early, by time and by delay', async () => {
    const published = await Promise.all([
      publish({ deliverAfter: 1 }),
      publish({ deliverAfter: '1s500ms' }),
      publish({ deliverAt: inMs(4_000) }),
      scene.client.post('/v1/topics/events/messages', 'x', {
        'setway-tag': 'plain',
        'setway-deliver-after': '1',
      }),
    ]);
    expect(published.map(({ status, body }) => [status, body.state])).toEqual(
      published.map(() => [202, 'scheduled']),
    );
    for (const { body } of published) {
      const { deliverAt } = await scene.client.message(body.id, () => true);
      expect((await arrived(body.id)).atMs).toBeGreaterThanOrEqual(new Date(deliverAt ?? '').getTime());
      await scene.client.message(body.id, areDeliveries('DONE', 'plain'));
      expect(scene.receiver.callsOf(body.id)).toHaveLength(1);
    }
  });

  it.concurrent('are sent at once when their time is past', async () => {
    const { body } = await publish({ deliverAt: '2020-01-01T00:00:00Z' });
    expect(body.state).toBe('stored');
    await arrived(body.id);
  });

  it.concurrent('keep their place under an Idempotency-Key', async () => {
    const key = { 'idempotency-key': 'delayed-1' };
    const answers = [await publish({ deliverAfter: 600 }, key), await publish({ deliverAfter: 600 }, key)];
    expect(answers.map(({ body }) => [body.state, body.duplicate])).toEqual([
      ['scheduled', false],
      ['scheduled', true],
    ]);
    expect((await publish({ deliverAfter: 601 }, key)).status).toBe(422);
    expect((await cancel(answers[0]?.body.id ?? '')).status).toBe(200);
  });

  it.concurrent('are cancelled once and for all, by their owner only, unless they are sent already', async () => {
    const { body } = await publish({ deliverAfter: 4, route: { set: 'virginia' } });
    const after = await publish({ deliverAfter: 4.5, route: { set: 'virginia' } });
    expect((await cancel(body.id, scene.stranger)).status).toBe(404);
    expect((await cancel('msg_01h455vb4pex5vsknk084sn02q')).status).toBe(404);
    expect((await cancel('msg_1')).status).toBe(404);
    expect(await cancel(body.id)).toMatchObject({ status: 200, body: { id: body.id, state: 'CANCELLED' } });
    expect((await cancel(body.id)).status).toBe(200);
    expect(await move(body.id, { deliverAfter: 1 })).toMatchObject({ status: 409 });
    await arrived(after.body.id);
    expect(scene.receiver.callsOf(body.id)).toEqual([]);
    expect(await scene.client.message(body.id, () => true)).toMatchObject({
      state: 'CANCELLED',
      deliveries: [],
    });
    expect(await cancel(after.body.id)).toMatchObject({ status: 409, body: { type: '/problems/conflict' } });
    expect(await events('virginia', body.id, after.body.id)).toEqual(['cancelled', 'released']);
  });

  it.concurrent('are moved, later and earlier, and never at the time that was', async () => {
    const set = { route: { set: 'hangzhou' } };
    const [later, earlier] = [
      await publish({ deliverAfter: 4, ...set }),
      await publish({ deliverAfter: 900, ...set }),
    ];
    const moved = await move(later.body.id, { deliverAfter: 5 });
    expect(moved).toMatchObject({ status: 200, body: { state: 'SCHEDULED' } });
    expect((await move(earlier.body.id, { deliverAt: inMs(1_500) })).status).toBe(200);
    expect((await move(later.body.id, { deliverAfter: 1 }, scene.stranger)).status).toBe(404);
    expect((await arrived(later.body.id)).atMs).toBeGreaterThanOrEqual(
      new Date(moved.body.deliverAt).getTime(),
    );
    await arrived(earlier.body.id);
    expect(await move(later.body.id, { deliverAfter: 1 })).toMatchObject({ status: 409 });
    expect(await events('hangzhou', later.body.id)).toEqual(['moved', 'released']);
    expect(await events('hangzhou', earlier.body.id)).toEqual(['moved', 'released']);
    // The webhook may be faster than the books of the sending.
    const database = scene.deployment.databaseUrls['hangzhou'] ?? '';
    await until(20_000, async () => (await countRows([database], 'agenda', "kind = 'release'")) === 0);
  });

  it('are not moved behind their expiry', async () => {
    const { body } = await publish({ deliverAfter: 60, expiresAfter: 120 });
    expect(await move(body.id, { deliverAfter: 180 })).toMatchObject({ status: 422 });
    expect(await move(body.id, { deliverAfter: 90 })).toMatchObject({ status: 200 });
    expect((await cancel(body.id)).status).toBe(200);
  });

  it('are listed over all SETs in the order they fall due, page by page', async () => {
    const sets = ['center', 'hangzhou', 'frankfurt', 'virginia'];
    const publishIn = (n: number) =>
      publish({ deliverAfter: 1000 - n, route: { set: sets[n % 4] } }).then(({ body }) => body.id);
    const ids = await Promise.all(Array.from({ length: 10 }, (_, n) => publishIn(n)));
    const pages: Page[] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const { body }: Reply<Page> = await scene.client.get<Page>(
        `/v1/messages?state=scheduled&limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      pages.push(body);
      cursor = body.next;
    }
    expect(pages.map(({ messages }) => messages.length)).toEqual([4, 4, 2]);
    expect(pages.map(({ incomplete }) => incomplete)).toEqual([[], [], []]);
    const listed = pages.flatMap(({ messages }) => messages);
    expect(listed.map(({ id }) => id)).toEqual(ids.toReversed());
    expect(listed.map(({ deliverAt }) => deliverAt)).toEqual(
      listed.map(({ deliverAt }) => deliverAt).toSorted(),
    );
    expect((await scene.stranger.get<Page>('/v1/messages?state=scheduled')).body.messages).toEqual([]);
    expect((await scene.client.get('/v1/messages?state=scheduled&cursor=x')).status).toBe(422);
    await Promise.all(ids.map((id) => cancel(id)));
    expect((await scene.client.get<Page>('/v1/messages?state=scheduled')).body.messages).toEqual([]);
  });

  it('are not delivered any more when they have expired', async () => {
    scene.receiver.script('/late', [{ status: 503 }]);
    const { body } = await publish({ tag: 'late', expiresAfter: 1 });
    const { deliveries } = await scene.client.message(body.id, areDeliveries('SKIPPED', 'late'));
    expect(deliveries[0]?.attempts).toMatchObject([
      { outcome: 'RETRY', status: 503 },
      { outcome: 'SKIPPED', status: null, error: expect.stringMatching(/^It expired at /) as string },
    ]);
    expect(scene.receiver.callsOf(body.id)).toHaveLength(1);
  });

  it.each([
    [{}, 422],
    [{ deliverAfter: 1, deliverAt: '2026-12-24T18:00:00Z' }, 422],
    [{ deliverAt: 'infinity' }, 422],
    [{ deliverAfter: -1 }, 422],
    [{ deliverAfter: 1, mode: 'fast' }, 422],
    [[], 422],
  ])('are not moved by %j', async (times, status) => {
    expect((await move('msg_01h455vb4pex5vsknk084sn02q', times)).status).toBe(status);
  });
});

describe('delayed messages where no host lives', () => {
  let receiver: WebhookReceiver;
  let broker: TcpProxy;
  let deployment: Deployment;
  let jobs: JobProcess;
  let ids: readonly string[];

  const database = (): string => deployment.databaseUrls['frankfurt'] ?? '';

  beforeAll(async () => {
    const stack = useStack();
    receiver = await startWebhookReceiver();
    broker = await startTcpProxy(stack.amqpUrl);
    deployment = await deploy(
      stack,
      freshPrefix('delayed-cron'),
      () => undefined,
      (seed) => ({
        ...addListeners(seed, receiver.url, { plain: {} }),
        sets: seed.sets.map((set) => ({
          ...set,
          brokerUrls: set.brokerUrls.map((url) => broker.through(url)),
        })),
      }),
    );
    const server = await platforms[1]?.start(deployment);
    const client = createClient(server?.url ?? '', deployment);
    const message = { topic: 'events', tag: 'plain', route: { set: 'frankfurt' } };
    const bulk = Array.from({ length: 40 }, (_, n) => ({
      ...message,
      deliverAfter: 2 + (n % 8) / 4,
      body: n,
    }));
    const { body } = await client.post<{ results: Published[] }>(
      '/v1/messages/bulk',
      JSON.stringify(bulk),
      json,
    );
    ids = body.results.map(({ id }) => id);
    await server?.stop();
    jobs = openJobProcess({ ...deployment.settings, ...directSettings(stack) });
  });
  afterAll(async () => {
    await jobs.close();
    await broker.close();
    await receiver.stop();
  });

  it('are released by two crons at once, each at its time and by one of them', async () => {
    const release = releaseWithin(6_000);
    const reports = await jobs.run(release, release);
    expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
    const rows = await query(
      database(),
      `SELECT m.state, count(*)::int, bool_and(m.confirmed_at >= m.deliver_at AND e.at >= m.deliver_at) AS in_time,
        sum(send_attempts)::int AS sent FROM message m JOIN message_event e ON e.message_id = m.id GROUP BY m.state`,
    );
    expect(rows).toEqual([{ state: 'CONFIRMED', count: ids.length, in_time: true, sent: ids.length }]);
    expect(await countWaiting(deployment.brokerUrls['frankfurt'] ?? '', 'setway.sub.plain')).toBe(ids.length);
    expect(await countRows([database()], 'agenda')).toBe(0);
  });

  it('wait for a broker that is away at their time, and are lost by nobody', async () => {
    await query(
      database(),
      "UPDATE message SET state = 'SCHEDULED', deliver_at = now() WHERE send_attempts = 1",
    );
    await query(
      database(),
      `INSERT INTO agenda (kind, set_id, refs, due_at) SELECT 'release', 'frankfurt', array_agg(id), now() FROM message`,
    );
    broker.become('closed');
    const away = await jobs.run(releaseWithin(1_000));
    expect(away).toMatchObject([{ handled: 0 }]);
    expect(await countRows([database()], 'message', "state = 'SCHEDULED'")).toBe(ids.length);
    broker.become('open');
    await until(30_000, async () => {
      await jobs.run(releaseWithin(1_000), republish);
      return (await countRows([database()], 'message', "state = 'CONFIRMED'")) === ids.length;
    });
  });
});
