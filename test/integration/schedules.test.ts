/** Schedules: one message per tick, whoever runs it, however often. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { runSchedulesWithin } from '../../scheduled/run-schedules.ts';
import { createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess } from '../stack/job-process.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { countRows, query } from '../stack/query.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

interface Shown {
  readonly id: string;
  readonly name: string | null;
  readonly state: string;
  readonly set: string;
  readonly nextTimes: readonly string[];
  readonly lastRuns: readonly { readonly tick: string; readonly message: string; readonly at: string }[];
  readonly message: object;
}

const json = { 'content-type': 'application/json' };
const everySecond = { cron: '* * * * * *', message: { topic: 'events', tag: 'plain', body: { due: true } } };
const yearly = {
  cron: '0 0 1 1 *',
  timeZone: 'Asia/Shanghai',
  message: { topic: 'events', tag: 'plain', key: 'k', body: 1 },
};

describe.each(platforms)('schedules on $name', (platform) => {
  let receiver: WebhookReceiver;
  let broker: TcpProxy;
  let deployment: Deployment;
  let server: RunningPlatform;
  let client: Client;
  let stranger: Client;

  beforeAll(async () => {
    const stack = useStack();
    receiver = await startWebhookReceiver();
    broker = await startTcpProxy(stack.amqpUrl);
    const rival = mintApiKey({ owner: 'rival', scopes: ['publish', 'read'] });
    const change = (seed: SeedInput): SeedInput => {
      const more = addListeners(seed, receiver.url, { plain: {} });
      const sets = more.sets.map((set) => ({
        ...set,
        brokerUrls: set.brokerUrls.map((url) => broker.through(url)),
      }));
      return { ...more, sets, keys: [...(more.keys ?? []), { ...rival.key, scopes: [...rival.key.scopes] }] };
    };
    deployment = await deploy(stack, freshPrefix('schedules'), () => undefined, change);
    server = await platform.start(deployment);
    client = createClient(server.url, deployment);
    stranger = createClient(server.url, { apiKey: rival.text });
  });
  afterAll(async () => {
    await server.stop();
    await broker.close();
    await receiver.stop();
  });

  const create = (request: object, headers = {}) =>
    client.post<Shown>('/v1/schedules', JSON.stringify(request), { ...json, ...headers });
  const read = async (id: string): Promise<Shown> => (await client.get<Shown>(`/v1/schedules/${id}`)).body;
  const ran = (id: string, times: number): Promise<Shown> =>
    until(20_000, async () => {
      const shown = await read(id);
      return shown.lastRuns.length >= times && shown;
    });
  const remove = (id: string) =>
    fetch(`${server.url}/v1/schedules/${id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${deployment.apiKey}` },
    });

  it('shows the next five times in its zone, and is listed to its owner alone', async () => {
    const { status, headers, body } = await create({ ...yearly, name: 'new year' });
    expect({ status, body }).toMatchObject({
      status: 201,
      body: {
        name: 'new year',
        state: 'active',
        missed: 'one',
        lastRuns: [],
        message: { topic: 'events', key: 'k' },
      },
    });
    expect(headers.get('location')).toBe(`/v1/schedules/${body.id}`);
    expect(body.nextTimes).toHaveLength(5);
    // Midnight in Shanghai.
    expect(body.nextTimes.every((time) => time.endsWith('-12-31T16:00:00.000Z'))).toBe(true);
    expect(await read(body.id)).toEqual(body);
    const { body: listed } = await client.get<{ schedules: Shown[] }>('/v1/schedules');
    expect(listed.schedules).toContainEqual(body);
    const { body: foreign } = await stranger.get<{ schedules: Shown[] }>('/v1/schedules');
    expect(foreign).toEqual({ schedules: [], incomplete: [] });
    expect((await stranger.get(`/v1/schedules/${body.id}`)).status).toBe(404);
    expect((await stranger.post(`/v1/schedules/${body.id}/pause`, '')).status).toBe(404);
  });

  it('publishes one message per tick, never early, and stops when it is paused or deleted', async () => {
    const { body: made } = await create(everySecond);
    const { lastRuns } = await ran(made.id, 3);
    expect(new Set(lastRuns.map(({ tick }) => tick)).size).toBe(lastRuns.length);
    for (const { tick, at } of lastRuns) expect(Date.parse(at)).toBeGreaterThanOrEqual(Date.parse(tick));
    const first = lastRuns.at(-1)?.message ?? '';
    const message = await client.message(
      first,
      ({ state, deliveries }) => state === 'CONFIRMED' && deliveries[0]?.state === 'DONE',
    );
    expect(message).toMatchObject({ tag: 'plain', state: 'CONFIRMED', route: { reason: 'schedule' } });
    const paused = await client.post<Shown>(`/v1/schedules/${made.id}/pause`, '');
    expect(paused.body).toMatchObject({ state: 'paused', nextTimes: [] });
    const agenda = () =>
      countRows(
        Object.values(deployment.databaseUrls),
        'agenda',
        "kind = 'schedule' AND due_at < now() + interval '1 day'",
      );
    expect(await agenda()).toBe(0);
    const resumed = await client.post<Shown>(`/v1/schedules/${made.id}/resume`, '');
    expect(resumed.body.state).toBe('active');
    await client.post<Shown>(`/v1/schedules/${made.id}/resume`, '');
    expect(await agenda()).toBe(1);
    const before = (await read(made.id)).lastRuns.length;
    await ran(made.id, before + 1);
    expect((await remove(made.id)).status).toBe(200);
    expect((await client.get(`/v1/schedules/${made.id}`)).status).toBe(404);
    expect((await remove(made.id)).status).toBe(404);
    expect(await agenda()).toBe(0);
  });

  it('ticks while the broker is away are stored, and sent when it is back', async () => {
    broker.become('closed');
    const { body: made } = await create(everySecond);
    const { lastRuns } = await ran(made.id, 2);
    await client.post(`/v1/schedules/${made.id}/pause`, '');
    broker.become('open');
    for (const { message } of lastRuns)
      await client.message(
        message,
        ({ state, deliveries }) => state === 'CONFIRMED' && deliveries[0]?.state === 'DONE',
        30_000,
      );
    expect(lastRuns.map(({ message }) => receiver.callsOf(message).length)).toEqual(lastRuns.map(() => 1));
  });

  it('a repeated request with its key is the same schedule', async () => {
    const key = { 'idempotency-key': 'yearly' };
    const answers = await Promise.all([create(yearly, key), create(yearly, key)]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(answers[1]?.body.id).toBe(answers[0]?.body.id);
    expect((await create({ ...yearly, cron: '0 0 2 1 *' }, key)).status).toBe(422);
  });

  it.each([
    [{ ...yearly, cron: '* * * *' }, 422, '/cron'],
    [{ ...yearly, cron: '0 0 30 2 *' }, 422, '/cron'],
    [{ ...yearly, timeZone: 'Mars/Base' }, 422, '/timeZone'],
    [{ ...yearly, missed: 'some' }, 422, '/missed'],
    [{ cron: '* * * * *' }, 422, '/message'],
    [{ ...yearly, message: { topic: 'events', body: 1, mode: 'fast' } }, 422, '/message/mode'],
    [{ ...yearly, message: { topic: 'events', body: 1, deliverAfter: 60 } }, 422, '/message/deliverAfter'],
    [{ ...yearly, message: { topic: '..', body: 1 } }, 422, '/message/topic'],
    [{ ...yearly, message: { topic: 'nothing', body: 1 } }, 404, undefined],
    [{ ...yearly, crons: '' }, 422, '/crons'],
    [
      { ...yearly, message: { topic: 'events', body: 1, callback: { failure: 'http://10.0.0.1/' } } },
      422,
      '/message/callback/failure',
    ],
    [
      { ...yearly, message: { topic: 'events', body: 1, retries: { delays: ['x'] } } },
      422,
      '/message/retries/delays',
    ],
  ])('%j is refused', async (request, expected, place) => {
    const { status, body } = await client.post<{ errors?: readonly { at: string }[] }>(
      '/v1/schedules',
      JSON.stringify(request),
      json,
    );
    expect({ status, body }).toMatchObject({ status: expected });
    expect(body.errors?.[0]?.at).toBe(place);
  });
});

describe('schedules where no host lives', () => {
  it('two crons at once publish a missed tick once, and the ticks of an outage as is asked', async () => {
    const stack = useStack();
    const deployment = await deploy(
      stack,
      freshPrefix('ticks'),
      () => undefined,
      (seed) => addListeners(seed, 'http://127.0.0.1:8999', { plain: {} }),
    );
    const server = await platforms[1]?.start(deployment);
    if (!server) throw new Error('No platform.');
    const client = createClient(server.url, deployment);
    const make = async (missed: string): Promise<string> => {
      const request = {
        cron: '0 * * * *',
        missed,
        name: missed,
        message: { topic: 'events', tag: missed, body: 1 },
      };
      const { body } = await client.post<Shown>('/v1/schedules', JSON.stringify(request), json);
      return body.id;
    };
    for (const missed of ['skip', 'one', 'all']) await make(missed);
    const urls = Object.values(deployment.databaseUrls);
    await until(20_000, async () => (await countRows(urls, 'schedule', 'next_at IS NOT NULL')) === 3);
    await server.stop();
    // Nobody was there for three hours; and a minute of the hour in which no tick is on time.
    for (const url of urls) {
      await query(
        url,
        "UPDATE schedule SET next_at = date_trunc('hour', now() - interval '5 minutes') - interval '3 hours'",
      );
      await query(
        url,
        "UPDATE agenda SET due_at = date_trunc('hour', now() - interval '5 minutes') - interval '3 hours' WHERE kind = 'schedule'",
      );
    }
    const settings = { ...deployment.settings, ...directSettings(stack) };
    const processes = [openJobProcess(settings), openJobProcess(settings)];
    const job = runSchedulesWithin(2_000);
    const reports = await Promise.all(processes.map((each) => each.run(job, job)));
    await Promise.all(processes.map((each) => each.close()));
    expect(reports.flat().flatMap(({ failures }) => failures)).toEqual([]);
    const messages = async (tag: string) => countRows(urls, 'message', `tag = '${tag}'`);
    const { minutes } =
      (await query(urls[0] ?? '', 'SELECT extract(minute FROM now())::int AS minutes'))[0] ?? {};
    const isOnTime = Number(minutes) < 2;
    expect(await messages('skip')).toBe(isOnTime ? 1 : 0);
    expect(await messages('one')).toBe(1);
    expect(await messages('all')).toBeGreaterThanOrEqual(4);
    expect(await messages('all')).toBe(
      await countRows(urls, 'schedule_run', "schedule_id = (SELECT id FROM schedule WHERE missed = 'all')"),
    );
    expect(await countRows(urls, 'agenda', "kind = 'schedule' AND due_at > now()")).toBe(3);
  });
});
