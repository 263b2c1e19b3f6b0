/** A topic replicated between SETs: everybody's broker has each message once, and one SET delivers it. */
import { connect } from 'amqplib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { vhostOf } from '../../shared/fleet/federation.ts';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { areDeliveries, at, cities, type Place } from '../stack/client.ts';
import { createDatabase, postgresUrlOf } from '../stack/addresses.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { countWaiting } from '../stack/queue.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { setwaySets } from '../stack/setway.ts';
import { until } from '../stack/until.ts';

const { managementUrl } = useStack();
const management = openManagement({ fetch }, managementUrl);
const deadlineMs = 30_000;

describe.each(platforms)('a replicated topic on $name', (platform) => {
  let scene: Scene;
  const sets = ['center', 'hangzhou', 'frankfurt', 'virginia'];
  const between = ['hangzhou', 'frankfurt', 'virginia'];
  const brokerOf = (set: string): string => scene.deployment.brokerUrls[set] ?? '';
  const vhosts = (): readonly string[] => sets.map((set) => vhostOf(brokerOf(set)));

  beforeAll(async () => {
    const pulled = { kind: 'pull', endpoint: undefined, secrets: undefined } as const;
    scene = await openScene(platform, 'replicate', {
      listeners: { hooked: {}, jobs: pulled },
      change: (seed) => ({
        ...seed,
        sets: seed.sets.map((set) => ({ ...set, managementUrl })),
        topics: (seed.topics ?? []).map((topic) =>
          topic.name === 'events' ? { ...topic, replicate: { between } } : topic,
        ),
        subscriptions: [
          ...(seed.subscriptions ?? []),
          { name: 'native', owner: 'demo', topic: 'events', kind: 'amqp', bindings: ['hooked', 'again'] },
        ],
      }),
    });
    await scene.server.runCron('* * * * *');
    await until(deadlineMs, async () => (await upLinks()) === 6);
  }, 90_000);
  afterAll(() => scene.stop());

  async function metrics(): Promise<string> {
    return String((await scene.operator.get<string>('/metrics')).body);
  }

  async function upLinks(): Promise<number> {
    return (await metrics()).match(/^setway_federation_link_up\{.*\} 1$/gm)?.length ?? 0;
  }

  async function publish(from: Place, tag: string, n: number): Promise<string> {
    const message = { topic: 'events', tag, key: `user-${n}`, body: { n } };
    return (await scene.client.publish(message, at(from))).body.id;
  }

  async function heldIn(set: string): Promise<readonly { id: string; origin: string }[]> {
    const url = scene.deployment.databaseUrls[set] ?? '';
    const rows = await query(url, "SELECT content->>'id' AS id, origin FROM held_copy");
    return rows.map(({ id, origin }) => ({ id: String(id), origin: String(origin) }));
  }

  it('reaches every SET it names once and never comes back; the SET of its publish alone delivers', async () => {
    const id = await publish(cities.berlin, 'hooked', 1);
    const message = await scene.client.message(id, areDeliveries('DONE', 'hooked'));
    expect(message).toMatchObject({ set: 'frankfurt', deliveries: [{ subscription: 'hooked' }] });
    await until(deadlineMs, async () => (await heldIn('hangzhou')).length === 1);
    await until(deadlineMs, async () => (await heldIn('virginia')).length === 1);
    // A second one over the same links: whatever came back of the first one would be there before it.
    const second = await publish(cities.shanghai, 'again', 2);
    await until(
      deadlineMs,
      async () => (await countWaiting(brokerOf('frankfurt'), 'setway.sub.native')) === 2,
    );
    await until(
      deadlineMs,
      async () => (await countWaiting(brokerOf('virginia'), 'setway.sub.native')) === 2,
    );
    await scene.client.message(second, ({ state }) => state === 'CONFIRMED');
    expect(await countWaiting(brokerOf('hangzhou'), 'setway.sub.native')).toBe(2);
    expect(await countWaiting(brokerOf('center'), 'setway.sub.native')).toBe(0);
    expect(scene.receiver.callsOf(id)).toHaveLength(1);
    expect(await heldIn('hangzhou')).toEqual([{ id, origin: 'frankfurt' }]);
    expect(await heldIn('frankfurt')).toEqual([]);
    expect(await heldIn('center')).toEqual([]);
  });

  it('is pulled once, and held by the others when they are asked', async () => {
    const id = await publish(cities.berlin, 'jobs', 3);
    await until(deadlineMs, async () => (await countWaiting(brokerOf('hangzhou'), 'setway.sub.jobs')) === 1);
    const pull = async (): Promise<readonly string[]> => {
      const { body } = await scene.operator.post<{ messages: { id: string }[] }>(
        '/v1/subscriptions/jobs/pull',
        '{"max": 10, "lease": "5m"}',
        { 'content-type': 'application/json' },
      );
      return body.messages.map((message) => message.id);
    };
    const got: string[] = [];
    await until(deadlineMs, async () => {
      got.push(...(await pull()));
      return (await heldIn('hangzhou')).some((copy) => copy.id === id) && got.length > 0;
    });
    expect(got).toEqual([id]);
  });

  it('has one effect each with traffic from all sides, and a copy in every other SET', async () => {
    const before = scene.receiver.calls.length;
    const places = [cities.berlin, cities.shanghai, cities.newYork];
    const bulk = async (place: Place): Promise<readonly string[]> => {
      const messages = Array.from({ length: 100 }, (_, n) => ({
        topic: 'events',
        tag: 'hooked',
        body: { n },
      }));
      const headers = {
        'content-type': 'application/json',
        'idempotency-key': crypto.randomUUID(),
        ...at(place),
      };
      // A busy machine may answer 503: the same request again stores nothing twice.
      const { body } = await until(deadlineMs, async () => {
        const reply = await scene.client.post<{ results: { id: string }[] }>(
          '/v1/messages/bulk',
          JSON.stringify(messages),
          headers,
        );
        return reply.status === 202 && reply;
      });
      return body.results.map(({ id }) => id);
    };
    const ids = (await Promise.all(places.map(bulk))).flat();
    await scene.receiver.waitFor((calls) => calls.length >= before + 300, deadlineMs);
    for (const set of between) {
      await until(deadlineMs, async () => {
        const held = new Set((await heldIn(set)).flatMap((copy) => (copy.origin === set ? [] : [copy.id])));
        return ids.filter((id) => held.has(id)).length === 200;
      });
    }
    const calls = scene.receiver.calls.slice(before).map(({ headers }) => String(headers['webhook-id']));
    expect(calls.toSorted()).toEqual(ids.toSorted());
    const [first = ''] = ids;
    expect((await scene.client.message(first, areDeliveries('DONE', 'hooked'))).deliveries).toHaveLength(1);
  });

  it('tells links and lag, and what a native client published is delivered where it was', async () => {
    expect(await metrics()).toMatch(
      /^setway_federation_lag_messages\{set="hangzhou",upstream="frankfurt"\} \d+$/m,
    );
    const connection = await connect(brokerOf('frankfurt'));
    const channel = await connection.createConfirmChannel();
    channel.publish('setway.topic.events', 'hooked', Buffer.from('native'), { messageId: 'n-1' });
    await channel.waitForConfirms();
    await connection.close();
    const isNative = ({ body }: { readonly body: Buffer }): boolean => body.toString() === 'native';
    await scene.receiver.waitFor((calls) => calls.some(isNative), deadlineMs);
    const dropped = /^setway_copies_total\{set="(hangzhou|virginia)",origin="",fate="drop"\} 1$/gm;
    await until(deadlineMs, async () => (await metrics()).match(dropped)?.length === 2);
    expect(scene.receiver.calls.filter(isNative)).toHaveLength(1);
  });

  it('is refused where a SET is not there, a center topic would leave the center, or deliveries have a home', async () => {
    const json = { 'content-type': 'application/json' };
    const faultOf = async (path: string, body: object): Promise<string> => {
      const answer = await scene.operator.post<{ errors: { at: string }[] }>(
        path,
        JSON.stringify(body),
        json,
      );
      return `${answer.status} ${JSON.stringify(answer.body)}`;
    };
    const topic = { name: 'other', replicate: { between: ['hangzhou', 'atlantis'] } };
    expect(await faultOf('/v1/topics', topic)).toMatch(/^422 .*There is no SET \\"atlantis\\"/);
    const center = { name: 'other', scope: 'center', replicate: {} };
    expect(await faultOf('/v1/topics', center)).toMatch(/^422 .*never leaves the center/);
    const queue = {
      name: 'q',
      topic: 'events',
      kind: 'amqp',
      federate: { between: ['hangzhou', 'atlantis'] },
    };
    expect(await faultOf('/v1/subscriptions', queue)).toMatch(/^422 .*atlantis/);
    const hooked = { ...queue, kind: 'webhook', endpoint: { url: 'https://example.com' }, federate: {} };
    expect(await faultOf('/v1/subscriptions', hooked)).toMatch(/^422 .*native consumers/);
    const patch = (body: object) =>
      scene.operator.send('/v1/topics/events', {
        method: 'PATCH',
        headers: { 'if-match': '*', ...json },
        body: JSON.stringify(body),
      });
    expect((await patch({ scope: 'center' })).status).toBe(422);
    expect((await patch({ replicate: { between: ['hangzhou'] } })).status).toBe(422);
    const { body } = await scene.operator.get('/v1/topics/events');
    expect(body).toMatchObject({ replicate: { between, others: 'hold', keepForMs: 86_400_000 } });
  });

  it('leaves nothing behind in any SET when it stops replicating', async () => {
    const change = await scene.operator.send('/v1/topics/events', {
      method: 'PATCH',
      headers: { 'if-match': '*', 'content-type': 'application/json' },
      body: '{"replicate": null}',
    });
    expect(change.status).toBe(200);
    await until(deadlineMs, async () => {
      await scene.server.runCron('* * * * *');
      return (await leftOvers()).length === 0;
    });
    await until(deadlineMs, async () => (await upLinks()) === 0);
    expect(await metrics()).not.toContain('setway_federation_link_up{');
  });

  async function leftOvers(): Promise<readonly string[]> {
    const found = await Promise.all(
      vhosts().map(async (vhost) => [
        ...(await management.parameters.list('federation-upstream', vhost)),
        ...(await management.parameters.list('federation-upstream-set', vhost)),
        ...(await management.policies.list(vhost)),
        ...(await management.queues.list(vhost)).filter(({ name }) => name.startsWith('federation:')),
        ...(await management.exchanges.list(vhost)).filter(({ name }) => name.startsWith('federation:')),
      ]),
    );
    return found.flat().map(({ name }) => name);
  }
});

describe.each(platforms.slice(1))('a SET that comes and goes, on $name', (platform) => {
  let scene: Scene;
  let vhost: string;
  beforeAll(async () => {
    scene = await openScene(platform, 'joining', {
      listeners: { hooked: {} },
      change: (seed) => ({ ...seed, sets: seed.sets.map((set) => ({ ...set, managementUrl })) }),
    });
    vhost = `${scene.deployment.prefix}_tokyo`;
    await createDatabase(useStack(), vhost);
  });
  afterAll(async () => {
    await scene.stop();
    await management.vhosts.remove(vhost);
    await management.users.remove(vhost);
  });
  const run = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await setwaySets(scene.deployment, ...args);
    return exitCode === 0 ? stdout : `failed: ${stderr}`;
  };
  const replicate = async (between: readonly string[]): Promise<number> => {
    const { status } = await scene.operator.send('/v1/topics/events', {
      method: 'PATCH',
      headers: { 'if-match': '*', 'content-type': 'application/json' },
      body: JSON.stringify({ replicate: { between } }),
    });
    return status;
  };

  it('takes part with no more rights than it was given, and is out of it again', async () => {
    const stack = useStack();
    const databaseUrl = postgresUrlOf(stack, vhost);
    const broker = `amqp://${new URL(stack.amqpUrl).host}/${vhost}`;
    const where = ['--place', '35.7,139.7', '--management', managementUrl, '--broker', broker];
    expect(await run('create', 'tokyo', ...where, '--database', databaseUrl)).toContain('tokyo: weight 1');
    await until(deadlineMs, async () => (await replicate(['tokyo', 'frankfurt'])) === 200);
    expect(await run('federate')).toContain('set the upstream setway-from-tokyo');
    expect(await run('federate')).not.toContain('steps');
    await until(deadlineMs, async () => {
      const links = await run('links', 'tokyo', 'frankfurt');
      return links.includes('from frankfurt: up') && links.includes('from tokyo: up');
    });
    const { body } = await scene.client.publish(
      { topic: 'events', tag: 'hooked', body: 1 },
      at(cities.berlin),
    );
    const held = async (): Promise<number> =>
      (await query(databaseUrl, "SELECT FROM held_copy WHERE origin = 'frankfurt'")).length;
    await until(deadlineMs, async () => (await held()) === 1);
    expect(scene.receiver.callsOf(body.id)).toHaveLength(1);
    expect(await run('links', 'tokyo')).toContain('holds 1 copies of frankfurt');
    expect(await run('promote', 'tokyo', '--of', 'frankfurt', '--since', '1h')).toContain(
      'First: setway sets fence',
    );

    expect(await run('drain', 'tokyo', '--wait', '60')).toContain('nothing left');
    expect(await run('retire', 'tokyo')).toContain('"events" is federated with SET "tokyo"');
    expect(await replicate(['hangzhou', 'frankfurt'])).toBe(200);
    expect(await run('federate')).toContain('delete the upstream setway-from-tokyo');
    expect(await run('retire', 'tokyo')).toContain('tokyo: retired');
    expect(await run('plan', 'frankfurt')).not.toContain('federation');
    const frankfurt = vhostOf(scene.deployment.brokerUrls['frankfurt'] ?? '');
    const names = [
      ...(await management.parameters.list('federation-upstream', frankfurt)),
      ...(await management.queues.list(frankfurt)),
    ].map(({ name }) => name);
    expect(names.filter((name) => name.includes('tokyo'))).toEqual([]);
  }, 180_000);
});
