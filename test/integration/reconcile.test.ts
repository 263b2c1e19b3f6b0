/** The cron that compares RabbitMQ with what it should be: it tells, and it repairs where it was told to. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { reconcileAfter } from '../../scheduled/reconcile-topology.ts';
import type { JobReport } from '../../scheduled/run-job.ts';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess, type JobProcess } from '../stack/job-process.ts';
import { setwaySets } from '../stack/setway.ts';

const stack = useStack();
const management = openManagement({ fetch }, stack.managementUrl);
const ours = ['center', 'frankfurt'];
let deployment: Deployment;
let jobs: JobProcess;

beforeAll(async () => {
  deployment = await deploy(
    stack,
    freshPrefix('reconcile'),
    () => undefined,
    (seed) => ({
      ...seed,
      topics: (seed.topics ?? []).map((topic) =>
        topic.name === 'orders' ? { ...topic, replicate: { between: ours } } : topic,
      ),
      sets: seed.sets.map((set) =>
        ours.includes(set.id) ? { ...set, managementUrl: stack.managementUrl } : set,
      ),
    }),
  );
  jobs = openJobProcess({
    ...deployment.settings,
    ...directSettings(stack),
    SETWAY_CATALOG_MAX_AGE_MS: '50',
  });
});
afterAll(() => jobs.close());

const run = async (): Promise<JobReport | undefined> => (await jobs.run(reconcileAfter(10)))[0];
const vhost = (set: string): string => `${deployment.prefix}_${set}`;
const gauge = (set: string): number | undefined =>
  jobs.parts.telemetry
    .snapshot()
    .find(({ name, labels }) => name === 'setway_topology_drift' && labels[0] === set)?.value;

it('applies to all SETs with a management URL, the canary first, and then says that all is well', async () => {
  const { stdout } = await setwaySets(deployment, 'apply', '--first', 'frankfurt');
  expect(stdout).toContain('policy setway-topic-orders');
  expect(stdout.indexOf('frankfurt:')).toBeLessThan(stdout.indexOf('center:'));
  expect(await run()).toMatchObject({ handled: 0, failures: [] });
  expect([gauge('center'), gauge('frankfurt'), gauge('hangzhou')]).toEqual([0, 0, undefined]);
});

it('reports drift in its record and its metric, and changes nothing', async () => {
  await management.queues.remove(vhost('frankfurt'), 'setway.sub.receipt');
  const report = await run();
  expect(report?.failures).toEqual([
    { set: 'frankfurt', detail: expect.stringContaining('+ queue setway.sub.receipt') as string },
  ]);
  expect(gauge('frankfurt')).toBeGreaterThan(0);
  const { stdout } = await setwaySets(deployment, 'plan', 'frankfurt');
  expect(stdout).toContain('+ queue setway.sub.receipt');
});

it('repairs when the SET says so', async () => {
  await setwaySets(deployment, 'drift', 'frankfurt', 'repair');
  expect(await run()).toMatchObject({ failures: [] });
  expect(gauge('frankfurt')).toBe(0);
  expect((await setwaySets(deployment, 'plan', 'frankfurt')).stdout).toBe('frankfurt: as it should be\n');
});

it('leaves what is not its own alone: a native consumer’s queue and its binding', async () => {
  await management.define(vhost('center'), {
    exchanges: [],
    queues: [{ name: 'native', arguments: { 'x-queue-type': 'quorum' } }],
    bindings: [{ exchange: 'setway.topic.orders', queue: 'native', bindingKey: '#' }],
  });
  expect((await setwaySets(deployment, 'plan', 'center')).stdout).toBe('center: as it should be\n');
});

it('stops at the first SET that cannot be brought to what it should be, and names the rest', async () => {
  await management.exchanges.remove(vhost('center'), 'setway.topic.ledger');
  await management.define(vhost('center'), {
    exchanges: [{ name: 'setway.topic.ledger', type: 'fanout' }],
    queues: [],
    bindings: [],
  });
  const { exitCode, stderr } = await setwaySets(deployment, 'apply');
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/Stopped at SET "center".*! exchange setway\.topic\.ledger: it is of type fanout/s);
  expect(stderr).toContain('Not touched: frankfurt.');
});
