/** A SET from nothing to nothing under traffic: created, looked at, bent, brought back, drained, retired. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { createDatabase, postgresUrlOf } from '../stack/addresses.ts';
import { areDeliveries, at, type Place, type Published } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { setway, setwaySets } from '../stack/setway.ts';
import { until } from '../stack/until.ts';

const stack = useStack();
const management = openManagement({ fetch }, stack.managementUrl);
const tokyo: Place = [35.6762, 139.6503];
const settledMs = 20_000;

describe.each(platforms)('a SET that comes and goes on $name', (platform) => {
  let scene: Scene;
  let vhost: string;
  let databaseUrl: string;
  beforeAll(async () => {
    scene = await openScene(platform, 'life', { listeners: { plain: {} } });
    vhost = `${scene.deployment.prefix}_tokyo`;
    databaseUrl = postgresUrlOf(stack, vhost);
    await createDatabase(stack, vhost);
  });
  afterAll(async () => {
    await scene.stop();
    await management.vhosts.remove(vhost);
    await management.users.remove(vhost);
  });

  const broker = (): string => `amqp://${new URL(stack.amqpUrl).host}/${vhost}`;
  const run = (...args: readonly string[]) => setwaySets(scene.deployment, ...args);
  const creation = (): readonly string[] => {
    const where = ['--place', tokyo.join(','), '--management', stack.managementUrl];
    return ['create', 'tokyo', ...where, '--broker', broker(), '--database', databaseUrl];
  };
  const create = (...more: readonly string[]) => run(...creation(), ...more);
  const publish = () =>
    scene.client.publish<Published>({ topic: 'events', tag: 'plain', body: 1 }, at(tokyo));
  const cameFrom = (set: string) =>
    until(settledMs, async () => {
      const { status, body } = await publish();
      return status === 202 && body.set === set;
    });
  /** Publishes as long as `work` lasts; every answer must be good. */
  const underTraffic = async <T>(work: () => Promise<T>): Promise<{ result: T; ids: readonly string[] }> => {
    const ids: string[] = [];
    const faults: unknown[] = [];
    let isOver = false;
    const traffic = (async () => {
      while (!isOver) {
        const { status, body } = await publish();
        if (status === 202) ids.push(body.id);
        else faults.push(body);
      }
    })();
    const result = await work().finally(() => (isOver = true));
    await traffic;
    expect(faults).toEqual([]);
    return { result, ids };
  };
  const heard = (ids: readonly string[]) =>
    scene.receiver.waitFor((calls) => {
      const known = new Set(calls.map(({ headers }) => headers['webhook-id']));
      return ids.every((id) => known.has(id));
    }, settledMs * 2);

  it('is refused before anything is made, and says why', async () => {
    const other = Object.entries(scene.deployment.databaseUrls).find(([id]) => id === 'frankfurt')?.[1] ?? '';
    const wrong = new URL(stack.managementUrl);
    wrong.password = 's3cr3t';
    const guest = `amqp://guest:guest@${new URL(stack.amqpUrl).host}/${scene.deployment.prefix}_frankfurt`;
    const asked = [
      await create('--number', '1'),
      await create('--place', '91,0'),
      await create('--management', wrong.href),
      await create('--management', 'http://admin:s3cr3t@127.0.0.1:1'),
      await create('--database', other),
      await create('--database', postgresUrlOf(stack, 'not-there')),
      await create('--broker', guest),
      await run('create', 'frankfurt', '--place', '1,1'),
      await run('drain', 'atlantis'),
      await run('retire', 'frankfurt'),
    ];
    const told = asked.map(({ stderr }) => stderr);
    expect(asked.map(({ exitCode }) => exitCode)).toEqual(asked.map(() => 1));
    expect(told[0]).toMatch(/number 1 is or was the SET "hangzhou"'s.*4 is free/);
    expect(told[1]).toContain('/place/latitude');
    expect(told[2]).toMatch(/HTTP 401.*wrong/);
    expect(told[3]).toContain('does not answer');
    expect(told[4]).toContain('belongs to the SET "frankfurt"');
    expect(told[5]).toContain('does not exist');
    expect(told[6]).toContain('same vhost');
    expect(told[8]).toContain('There is no SET "atlantis"');
    expect(told[9]).toContain('takes messages. First: setway sets drain frankfurt');
    expect(told.join()).not.toContain('s3cr3t');
    expect(await management.vhosts.find(vhost)).toBeUndefined();
  });

  it('is created by one command while traffic runs, and nobody notices', async () => {
    const { result, ids } = await underTraffic(async () => {
      const created = await setway(scene.deployment, 'sets', ...creation());
      await cameFrom('tokyo');
      return created;
    });
    expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(result.stdout).toMatch(/tokyo: weight 1\nSET tokyo is there after \d+\.\d s\n$/);
    await heard(ids);
    const { body } = await publish();
    await scene.client.message(body.id, areDeliveries('DONE', 'plain'));
    const user = await management.users.find(vhost);
    expect(user?.tags).toEqual([]);
    expect((await management.users.permissions(vhost, vhost))?.read).not.toContain('.*');
    const [kept] = await query(
      databaseUrl,
      'SELECT document::text AS text FROM catalog ORDER BY version DESC LIMIT 1',
    );
    expect(String(kept?.['text'])).not.toContain('guest:guest');
  });

  it('is as it should be after that, as often as it is applied', async () => {
    expect((await run('plan', 'tokyo')).stdout).toBe('tokyo: as it should be\n');
    for (let times = 0; times < 2; times++)
      expect(await run('apply')).toEqual({ exitCode: 0, stdout: 'tokyo: as it should be\n', stderr: '' });
    expect((await create()).stderr).toContain('There is a SET "tokyo"');
  });

  it('finds what was changed by hand, and brings it back', async () => {
    const bound = (await management.bindings.list(vhost)).filter(
      ({ destination, source }) => source !== '' && destination === 'setway.sub.plain',
    );
    for (const binding of bound) await management.bindings.remove(vhost, binding);
    const definition = { 'delivery-limit': 5 };
    await management.policies.put(vhost, {
      name: 'setway-queues',
      pattern: '^setway\\.',
      applyTo: 'queues',
      priority: 0,
      definition,
    });
    await management.operatorPolicies.remove(vhost, 'setway-guard');
    await management.queues.remove(vhost, 'setway.high.sub.plain');
    await management.users.permit(vhost, vhost, { configure: '.*', write: '.*', read: '.*' });
    await management.vhosts.limit(vhost, { maxQueues: 3 });
    await management.define(vhost, {
      exchanges: [],
      queues: [],
      bindings: [{ exchange: 'setway.topic.orders', queue: 'setway.sub.plain', bindingKey: 'stray' }],
    });
    const { stdout } = await run('plan', 'tokyo');
    expect(stdout).toContain('+ binding setway.topic.events → setway.sub.plain');
    expect(stdout).toContain('- binding setway.topic.orders → setway.sub.plain: "stray"');
    expect(stdout).toMatch(/~ policy setway-queues: .*delivery-limit 5 → 100/);
    expect(stdout).toContain('+ operator policy setway-guard');
    expect(stdout).toContain('+ queue setway.high.sub.plain');
    expect(stdout).toContain('~ permissions ');
    expect(stdout).toContain('~ limits ');
    expect((await run('status', 'tokyo')).stdout).toContain('drift + queue setway.high.sub.plain');
    expect((await run('apply', 'tokyo')).stdout).toContain('+ queue setway.high.sub.plain');
    expect((await run('plan', 'tokyo')).stdout).toBe('tokyo: as it should be\n');
  });

  it('drains under traffic, retires, and leaves nothing but its databases', async () => {
    const { result, ids } = await underTraffic(async () => {
      const drained = await run('drain', 'tokyo', '--wait', '60');
      expect(drained).toMatchObject({ exitCode: 0, stdout: 'tokyo: draining\ntokyo: nothing left\n' });
      return run('retire', 'tokyo');
    });
    expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    await heard(ids);
    expect(await management.vhosts.find(vhost)).toBeUndefined();
    expect(await management.users.find(vhost)).toBeUndefined();
    expect((await run('status')).stdout).not.toContain('tokyo');
    expect((await create('--number', '4')).stderr).toContain('The number 4 is or was the SET "tokyo"');
    expect((await create()).stderr).toContain('belongs to the SET "tokyo"');
  }, 180_000);
});
