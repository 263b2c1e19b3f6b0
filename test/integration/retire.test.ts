/** A SET goes only with empty hands: what waits in it is named, and handed to a sibling when told so. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { createDatabase, postgresUrlOf } from '../stack/addresses.ts';
import { areDeliveries, at, type Place, type Published, type Reply } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { countConsumers } from '../stack/queue.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { setwaySets } from '../stack/setway.ts';
import { until } from '../stack/until.ts';

const stack = useStack();
const management = openManagement({ fetch }, stack.managementUrl);
const tokyo: Place = [35.6762, 139.6503];
let scene: Scene;
let vhost: string;

const run = (...args: readonly string[]) => setwaySets(scene.deployment, ...args);
const onlyTokyo = { set: 'tokyo', fallback: 'only' } as const;
const publish = (more: object = {}) =>
  scene.client.publish<Published>({ topic: 'events', tag: 'held', body: 1, ...more }, at(tokyo));
/** Edges read the catalog now and then: a SET that was created or activated takes messages soon, not at once. */
const untilTaken = (send: () => Promise<Reply<Published>>): Promise<Published> =>
  until(30_000, async () => {
    const { status, body } = await send();
    return status === 202 && body;
  });
const subscription = async (
  action: 'pause' | 'resume',
  brokerUrl = `${stack.amqpUrl}/${vhost}`,
): Promise<void> => {
  const init = { method: 'POST', headers: { 'if-match': '*' } };
  expect((await scene.operator.send(`/v1/subscriptions/held/${action}`, init)).status).toBe(200);
  const consumers = action === 'pause' ? 0 : 1;
  await until(15_000, async () => (await countConsumers(brokerUrl, 'setway.sub.held')) === consumers);
};

beforeAll(async () => {
  const node = platforms.find(({ name }) => name === 'Node');
  if (!node) throw new Error('There is no Node.');
  scene = await openScene(node, 'retire', { listeners: { held: {} } });
  vhost = `${scene.deployment.prefix}_tokyo`;
  const databaseUrl = postgresUrlOf(stack, vhost);
  await createDatabase(stack, vhost);
  const broker = `amqp://${new URL(stack.amqpUrl).host}/${vhost}`;
  const where = ['--place', tokyo.join(','), '--management', stack.managementUrl];
  const { stderr } = await run('create', 'tokyo', ...where, '--broker', broker, '--database', databaseUrl);
  if (stderr !== '') throw new Error(stderr);
  const everything = { configure: '.*', write: '.*', read: '.*' };
  await management.users.permit(vhost, 'guest', everything);
}, 60_000);
afterAll(async () => {
  await scene.stop();
  await management.vhosts.remove(vhost);
  await management.users.remove(vhost);
});

it('names what would be lost, and stays until it is not', async () => {
  const { id, set } = await untilTaken(() => publish({ deliverAfter: '1h', route: onlyTokyo }));
  expect(set).toBe('tokyo');
  await run('drain', 'tokyo');
  const { exitCode, stderr } = await run('retire', 'tokyo');
  expect(exitCode).toBe(1);
  expect(stderr).toContain('1 messages scheduled for later');
  expect((await scene.operator.send(`/v1/messages/${id}`, { method: 'DELETE' })).status).toBe(200);
  await run('activate', 'tokyo');
}, 60_000);

it('does not hand over ordered messages: only it knows their order', async () => {
  await subscription('pause');
  const sequence = JSON.stringify({
    topic: 'events',
    tag: 'held',
    route: onlyTokyo,
    messages: [{ body: 1 }, { body: 2 }],
  });
  await untilTaken(() =>
    scene.client.post('/v1/sequences', sequence, { 'content-type': 'application/json', ...at(tokyo) }),
  );
  await until(15_000, async () => {
    const queues = await management.queues.list(vhost);
    return queues.some(({ name, messages }) => name === 'setway.sub.held' && messages === 2);
  });
  await run('drain', 'tokyo');
  expect((await run('retire', 'tokyo', '--shovel-to', 'frankfurt')).stderr).toContain(
    'Ordered messages wait',
  );
  await subscription('resume');
  await run('activate', 'tokyo');
  await until(30_000, async () => (await run('drain', 'tokyo')).stdout.includes('nothing left'));
  await run('activate', 'tokyo');
}, 120_000);

it('hands what waits in its queues to a sibling, which delivers it under the same ids and tries again', async () => {
  await subscription('pause');
  const ids: string[] = [];
  await until(15_000, async () => {
    const { body } = await publish();
    if (body.set === 'tokyo') ids.push(body.id);
    return ids.length >= 5;
  });
  await run('drain', 'tokyo');
  await until(15_000, async () => {
    const queues = await management.queues.list(vhost);
    return queues.some(({ name, messages }) => name === 'setway.sub.held' && messages >= ids.length);
  });
  const refused = await run('retire', 'tokyo');
  expect(refused.stderr).toMatch(/\d+ messages in the queue setway\.sub\.held/);
  expect((await run('retire', 'tokyo', '--shovel-to', 'tokyo')).stderr).toContain('to itself');
  const retired = await run('retire', 'tokyo', '--shovel-to', 'frankfurt');
  expect(retired).toMatchObject({ exitCode: 0, stderr: '' });
  expect(retired.stdout).toContain('shovelled to frankfurt, the sources are empty');
  // The first answer is a failure: the retry comes from the sibling's database.
  scene.receiver.script(
    '/held',
    ids.map(() => ({ status: 500 })),
  );
  await subscription('resume', scene.deployment.brokerUrls['frankfurt']);
  await scene.receiver.waitFor(
    () => ids.every((id) => scene.receiver.callsOf(id, '/held').length >= 2),
    30_000,
  );
  const [id = ''] = ids;
  await scene.client.message(id, areDeliveries('DONE', 'held'));
}, 120_000);
