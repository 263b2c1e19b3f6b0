/** The control plane over HTTP: for operators alone, without a credential in any answer. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { createDatabase, postgresUrlOf } from '../stack/addresses.ts';
import { at, type Client, type Place, type Published, type Reply } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

interface Report {
  readonly id: string;
  readonly status: string;
  readonly weight: number;
  readonly ailments: readonly string[];
  readonly drift: readonly string[];
  readonly left: readonly string[];
  readonly changes: readonly string[];
  readonly detail: string;
}

const stack = useStack();
const management = openManagement({ fetch }, stack.managementUrl);
const osaka: Place = [34.6937, 135.5023];

describe.each(platforms)('SETs over HTTP on $name', (platform) => {
  let scene: Scene;
  let vhost: string;
  let wanted: object;
  beforeAll(async () => {
    scene = await openScene(platform, 'control', { settings: { SETWAY_OPERATORS: 'demo' } });
    vhost = `${scene.deployment.prefix}_osaka`;
    await createDatabase(stack, vhost);
    wanted = {
      id: 'osaka',
      kind: 'unit',
      place: { latitude: osaka[0], longitude: osaka[1] },
      weight: 0,
      managementUrl: stack.managementUrl,
      brokerUrls: [`amqp://${new URL(stack.amqpUrl).host}/${vhost}`],
      databaseUrls: [postgresUrlOf(stack, vhost)],
    };
  });
  afterAll(async () => {
    await scene.stop();
    await management.vhosts.remove(vhost);
    await management.users.remove(vhost);
  });

  const ask = (
    method: string,
    path: string,
    fields?: object,
    client: Client = scene.operator,
  ): Promise<Reply<Report>> =>
    client.send<Report>(`/v1/sets${path}`, {
      method,
      ...(fields === undefined
        ? {}
        : { body: JSON.stringify(fields), headers: { 'content-type': 'application/json' } }),
    });

  it('is for operators alone', async () => {
    for (const client of [scene.stranger, scene.client]) {
      const answers = await Promise.all([
        ask('POST', '', wanted, client),
        ask('GET', '/frankfurt', undefined, client),
        ask('POST', '/frankfurt/drain', undefined, client),
        ask('POST', '/frankfurt/take-over', {}, client),
        ask('POST', '/frankfurt/retire', {}, client),
        ask('PATCH', '/frankfurt', { weight: 0 }, client),
      ]);
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([403]));
    }
  });

  it('refuses what cannot be meant, and makes nothing of it', async () => {
    const place = { latitude: 90.001, longitude: 0 };
    const answers = await Promise.all([
      ask('POST', '', { ...wanted, place }),
      ask('POST', '', { ...wanted, id: 'Osaka' }),
      ask('POST', '', { ...wanted, id: 'route' }),
      ask('POST', '', { ...wanted, brokerUrls: ['http://127.0.0.1'] }),
      ask('POST', '', { ...wanted, status: 'active' }),
      ask('POST', '', { ...wanted, number: 1 }),
      ask('PATCH', '/frankfurt', { weight: -1 }),
      ask('GET', '/atlantis'),
      ask('POST', '/frankfurt/retire', { shovelTo: 'hangzhou' }),
      ask('GET', '/frankfurt/plan'),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([422, 422, 422, 422, 422, 409, 422, 404, 409, 409]);
    expect(await management.vhosts.find(vhost)).toBeUndefined();
  });

  it('creates, tells how it is, opens, drains and retires', async () => {
    const created = await ask('POST', '', wanted);
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      id: 'osaka',
      status: 'active',
      weight: 0,
      ailments: [],
      drift: [],
      left: [],
    });
    expect(JSON.stringify(created.body)).not.toMatch(/guest|password|:\/\//);
    expect((await ask('POST', '', wanted)).status).toBe(409);
    expect((await ask('GET', '/osaka/plan')).body.changes).toEqual([]);
    expect((await ask('POST', '/osaka/apply')).body.changes).toEqual([]);
    expect((await ask('PATCH', '/osaka', { weight: 1 })).body.weight).toBe(1);
    const cameFrom = (isThere: boolean) =>
      until(20_000, async () => {
        const { status, body } = await scene.client.publish<Published>(
          { topic: 'orders', tag: 'x', body: 1 },
          at(osaka),
        );
        return status === 202 && (body.set === 'osaka') === isThere;
      });
    await cameFrom(true);
    expect((await ask('POST', '/osaka/retire')).body.detail).toContain('takes messages');
    expect((await ask('POST', '/osaka/drain')).body.status).toBe('draining');
    await cameFrom(false);
    await until(30_000, async () => (await ask('GET', '/osaka')).body.left.length === 0);
    expect(await ask('POST', '/osaka/retire')).toMatchObject({
      status: 200,
      body: { id: 'osaka', status: 'retired' },
    });
    expect((await ask('GET', '/osaka')).status).toBe(404);
    expect(await management.vhosts.find(vhost)).toBeUndefined();
  }, 120_000);
});
