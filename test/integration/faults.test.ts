/** Databases and brokers of SETs that are away, slow, or lose their answers; a proxy before each of them does it. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { parseMessageId, toUuid } from '../../shared/identifier.ts';
import {
  areDeliveries,
  at,
  cities,
  createClient,
  type Client,
  type ProblemBody,
  type Reply,
  type ShownMessage,
} from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { demoSets } from '../stack/demo-world.ts';
import { deploy, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';

type Proxies = Readonly<Record<string, TcpProxy>>;

/** The defaults of an edge: how long it waits for one SET, and in all. */
const impatience = { SETWAY_ACCEPT_TIMEOUT_MS: '1200', SETWAY_ACCEPT_DEADLINE_MS: '2700' } as const;
/**
 * What was claimed while the answer got lost is due again when its lease is over: after the longest call, and the wait
 * for a slot before it.
 */
const leasedMs = 75_000;
const minutely = '* * * * *';
/** What issue and README promise for the case that nothing answers, and some room for the test itself. */
const refusalMs = 3_500;

async function startProxies(target: string): Promise<Proxies> {
  const proxies = await Promise.all(
    demoSets.map(async ({ id }) => [id, await startTcpProxy(target)] as const),
  );
  return Object.fromEntries(proxies);
}

interface Sequence {
  readonly set: string;
  readonly messages: readonly { readonly id: string }[];
}

const order = { orderId: 'fault', sku: 'tea', quantity: 1, city: 'Berlin' };

describe.each(platforms)('faults on $name', (platform) => {
  let databases: Proxies;
  let brokers: Proxies;
  let deployment: Deployment;
  let server: RunningPlatform;
  let client: Client;

  beforeAll(async () => {
    const stack = useStack();
    databases = await startProxies(stack.postgresUrl);
    brokers = await startProxies(stack.amqpUrl);
    const proxied = (seed: SeedInput): SeedInput => ({
      ...seed,
      sets: seed.sets.map((set) => ({
        ...set,
        brokerUrls: set.brokerUrls.map((url) => brokers[set.id]?.through(url) ?? url),
        databaseUrls: set.databaseUrls.map((url) => databases[set.id]?.through(url) ?? url),
      })),
    });
    deployment = await deploy(stack, freshPrefix('faults'), () => undefined, proxied);
    server = await platform.start(deployment, {
      SETWAY_CONFIRM_TIMEOUT_SECONDS: '1',
      ...impatience,
      SETWAY_RESEND_AFTER_SECONDS: '1',
    });
    client = createClient(server.url, deployment);
    // Every host lives and is connected before the first fault.
    for (const place of Object.values(cities)) {
      const { body } = await publish(place);
      await client.message(body.id, areDeliveries('DONE', 'inventory', 'receipt'));
    }
  });
  afterEach(() => {
    become(databases, 'open');
    become(brokers, 'open');
  });
  afterAll(async () => {
    await server.stop();
    await Promise.all([...Object.values(databases), ...Object.values(brokers)].map((proxy) => proxy.close()));
  });

  const publish = (
    place: readonly [number, number],
    more: object = {},
    headers: Record<string, string> = {},
  ) => client.publish({ topic: 'orders', body: order, ...more }, { ...at(place), ...headers });
  const become = (proxies: Proxies, mode: Parameters<TcpProxy['become']>[0]): void => {
    for (const proxy of Object.values(proxies)) proxy.become(mode);
  };
  const failovers = async (set: string): Promise<number> => {
    const { body } = await client.get<string>('/metrics');
    const lines = body.split('\n').filter((line) => line.startsWith(`setway_failover_total{set="${set}"`));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const effects = async (id: string): Promise<readonly unknown[]> => {
    const { consumerDatabaseUrl: url } = deployment;
    const [lines] = await query(url, `SELECT count(*)::int FROM demo_order_line WHERE message_id = $1`, [id]);
    const [receipt] = await query(url, `SELECT count FROM demo_receipt WHERE message_id = $1`, [id]);
    return [lines?.['count'], receipt?.['count']];
  };
  /** What a SET's own database knows of a message, past the product and the proxy. */
  const storedIn = async (set: string, uuid: string) => {
    const [row] = await query(
      deployment.databaseUrls[set] ?? '',
      `SELECT m.state, m.send_attempts, (SELECT count(*)::int FROM delivery d WHERE d.message_id = m.id AND d.state = 'DONE') AS done
       FROM message m WHERE m.id = $1`,
      [uuid],
    );
    return row;
  };
  /** The SET is used again: its breaker lets a request through, and that succeeds. */
  const untilBack = (set: string, place: readonly [number, number]) =>
    until(30_000, async () => (await publish(place)).body.set === set);

  /** Whatever the test before has left, the SET takes messages and sends them. */
  const untilConfirmed = (set: string, place: readonly [number, number]) =>
    until(30_000, async () => {
      const { body } = await publish(place, {}, { prefer: 'wait=2' });
      return body.set === set && body.state === 'confirmed';
    });

  /**
   * Sends until Hangzhou has stored it and its answer was lost. A new connection could not even say what it wants while the
   * proxy is mute, so there must be an open one that nothing else uses at that moment.
   */
  const losingTheAnswer = <T extends Reply<{ readonly set: string }>>(
    send: () => Promise<T>,
    idsOf: (reply: T) => readonly string[],
  ): Promise<{ readonly reply: T; readonly uuids: readonly string[] }> =>
    until(60_000, async () => {
      const database = databases['hangzhou'];
      await untilConfirmed('hangzhou', cities.shanghai);
      database?.become('mute');
      const reply = await send();
      expect(reply).toMatchObject({ status: 202, body: { set: 'center' } });
      const uuids = idsOf(reply).map((id) => toUuid(parseMessageId(id)));
      const rows = await Promise.all(
        uuids.map((uuid) => until(5_000, () => storedIn('hangzhou', uuid)).catch(() => undefined)),
      );
      if (rows.every((row) => row?.['state'] === 'READY')) return { reply, uuids };
      database?.become('open');
      return undefined;
    });

  it('a SET whose database is away is left for the next one, and the breaker remembers', async () => {
    const database = databases['hangzhou'];
    await untilConfirmed('hangzhou', cities.shanghai);
    database?.become('closed');
    const before = await failovers('hangzhou');
    const first = await publish(cities.shanghai);
    expect(first).toMatchObject({ status: 202, body: { set: 'center', route: { reason: 'failover' } } });
    await publish(cities.shanghai);
    await publish(cities.shanghai);
    const opened = await failovers('hangzhou');
    expect(opened - before).toBe(3);
    const { body } = await client.get<{ sets: readonly { id: string; breaker: string }[] }>('/v1/sets');
    expect(body.sets.find(({ id }) => id === 'hangzhou')?.breaker).toBe('open');
    const spared = await publish(cities.shanghai);
    expect(spared).toMatchObject({ status: 202, body: { set: 'center', route: { reason: 'nearest' } } });
    expect(await failovers('hangzhou')).toBe(opened);
    expect(database?.refused).toBeGreaterThan(0);
    database?.become('open');
    await untilBack('hangzhou', cities.shanghai);
    const message = await client.message(first.body.id, areDeliveries('DONE', 'inventory', 'receipt'));
    expect(message).toMatchObject({ set: 'center', route: { reason: 'failover' } });
  });

  it('a SET that stores but whose answer is lost, and the next one, together have one effect', async () => {
    const database = databases['hangzhou'];
    const {
      reply: { body },
      uuids: [uuid = ''],
    } = await losingTheAnswer(
      () => publish(cities.shanghai),
      (reply) => [reply.body.id],
    );
    expect(body.route.reason).toBe('failover');
    // The fault happened: the answer was lost, and the message is in both databases under one id.
    expect(database?.lostBytes).toBeGreaterThan(0);
    expect(await storedIn('center', uuid)).toBeDefined();
    database?.become('open');
    // Nobody in Hangzhou knows of the message but its database: a cron looks.
    await until(leasedMs, async () => {
      await server.runCron(minutely);
      const states = await Promise.all(['hangzhou', 'center'].map((set) => storedIn(set, uuid)));
      return states.every((row) => row?.['state'] === 'CONFIRMED' && row['done'] === 2);
    });
    expect(await effects(body.id)).toEqual([1, 1]);
    await untilBack('hangzhou', cities.shanghai);
  }, 120_000);

  it('a sequence whose answer is lost is taken by the next SET as well: one effect each, in order in both', async () => {
    const items = [1, 2, 3].map((quantity) => ({ body: { ...order, quantity } }));
    const sequence = JSON.stringify({ topic: 'orders', messages: items });
    const headers = { 'content-type': 'application/json', ...at(cities.shanghai) };
    const {
      reply: { body },
      uuids,
    } = await losingTheAnswer(
      () => client.post<Sequence>('/v1/sequences', sequence, headers),
      (reply) => reply.body.messages.map(({ id }) => id),
    );
    databases['hangzhou']?.become('open');
    await until(leasedMs, async () => {
      await server.runCron(minutely);
      const rows = uuids.flatMap((uuid) => ['hangzhou', 'center'].map((set) => storedIn(set, uuid)));
      return (await Promise.all(rows)).every((row) => row?.['done'] === 2);
    });
    for (const { id } of body.messages) expect(await effects(id)).toEqual([1, 1]);
    for (const set of ['hangzhou', 'center']) {
      const calls = await query(
        deployment.databaseUrls[set] ?? '',
        `SELECT message_id FROM attempt WHERE subscription = 'inventory' AND outcome = 'DONE' AND message_id = ANY($1) ORDER BY at`,
        [uuids],
      );
      expect(calls.map((row) => row['message_id'])).toEqual(uuids);
    }
    await untilBack('hangzhou', cities.shanghai);
  }, 120_000);

  it('a broker that is away delays and refuses nothing', async () => {
    const broker = brokers['frankfurt'];
    await untilConfirmed('frankfurt', cities.berlin);
    broker?.become('closed');
    const answers = await Promise.all(Array.from({ length: 20 }, () => publish(cities.berlin)));
    for (const { status, body } of answers) {
      expect(status).toBe(202);
      expect(body).toMatchObject({ state: 'stored', set: 'frankfurt', route: { reason: 'nearest' } });
    }
    const ids = answers.map(({ body }) => body.id);
    const waited = await publish(cities.berlin, {}, { prefer: 'wait=1' });
    expect(waited).toMatchObject({ status: 202, body: { state: 'stored' } });
    // `fast` needs a broker, so another SET takes it.
    const fast = await publish(cities.berlin, { mode: 'fast' });
    expect(fast).toMatchObject({ status: 202, body: { state: 'sent', route: { reason: 'failover' } } });
    expect(fast.body.set).not.toBe('frankfurt');
    for (const id of ids)
      expect(await storedIn('frankfurt', toUuid(parseMessageId(id)))).toMatchObject({ state: 'READY' });
    expect(broker?.refused).toBeGreaterThan(0);
    broker?.become('open');
    for (const id of [...ids, waited.body.id]) {
      const message: ShownMessage = await client.message(
        id,
        (shown) => shown.state === 'CONFIRMED' && areDeliveries('DONE', 'inventory', 'receipt')(shown),
        30_000,
      );
      expect(message.deliveries).toHaveLength(2);
      expect(await effects(id)).toEqual([1, 1]);
    }
  });

  it('a broker whose confirm is lost gets the message again, under the same id, for one effect', async () => {
    const broker = brokers['virginia'];
    await untilConfirmed('virginia', cities.newYork);
    broker?.become('mute');
    const { status, body } = await publish(cities.newYork);
    expect(status).toBe(202);
    const uuid = toUuid(parseMessageId(body.id));
    await until(20_000, async () => Number((await storedIn('virginia', uuid))?.['send_attempts']) > 0);
    expect(broker?.lostBytes).toBeGreaterThan(0);
    expect(await storedIn('virginia', uuid)).toMatchObject({ state: 'READY' });
    broker?.become('open');
    const message = await client.message(
      body.id,
      (shown) => shown.state === 'CONFIRMED' && areDeliveries('DONE', 'inventory', 'receipt')(shown),
      30_000,
    );
    expect(message.sendAttempts).toBeGreaterThan(1);
    expect(await effects(body.id)).toEqual([1, 1]);
  });

  it.each(['closed', 'mute'] as const)('with all databases %s the answer is 503, in time', async (mode) => {
    become(databases, mode);
    const beganMs = performance.now();
    const answer = await client.publish<ProblemBody>({ topic: 'orders', body: order }, at(cities.shanghai));
    expect(performance.now() - beganMs).toBeLessThan(refusalMs);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body.type).toBe('/problems/set-unavailable');
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    become(databases, 'open');
    await untilBack('hangzhou', cities.shanghai);
  });

  it('the probe tells edges which SETs to leave out, and when they are back', async () => {
    type Sets = { readonly sets: readonly { readonly id: string; readonly health: string }[] };
    const health = async (set: string) =>
      (await client.get<Sets>('/v1/sets')).body.sets.find(({ id }) => id === set)?.health;
    await untilConfirmed('hangzhou', cities.shanghai);
    databases['hangzhou']?.become('closed');
    await server.runCron(minutely);
    await until(20_000, async () => (await health('hangzhou')) === 'down');
    expect(await health('frankfurt')).toBe('up');
    const before = await failovers('hangzhou');
    const led = await publish(cities.shanghai);
    expect(led.body).toMatchObject({ set: 'center', route: { reason: 'nearest' } });
    // Not even tried: the route goes elsewhere.
    expect(await failovers('hangzhou')).toBe(before);

    become(databases, 'closed');
    await server.runCron(minutely);
    await until(20_000, async () => (await client.get('/health/ready')).status === 503);
    expect((await client.get('/health/live')).status).toBe(200);
    become(databases, 'open');
    await server.runCron(minutely);
    await until(20_000, async () => (await client.get('/health/ready')).status === 200);
    await until(20_000, async () => (await health('hangzhou')) === 'up');
    await untilBack('hangzhou', cities.shanghai);
  });
});
