/** RabbitMQ may lose a quorum queue while its name stays: nobody leads it, and publishing to it fails for ever. */
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeBroker } from '../../shared/fleet/apply-set.ts';
import { shapeOf } from '../../shared/fleet/broker-shape.ts';
import { describeChange, driftOf, type Change } from '../../shared/fleet/drift.ts';
import { look } from '../../shared/fleet/plan-set.ts';
import { featuresOf } from '../../shared/topology/broker-features.ts';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { planTopology } from '../../shared/topology/plan.ts';
import { startPrivateStack } from '../stack/current-stack.ts';
import type { Stack } from '../stack/stack.ts';
import { until } from '../stack/until.ts';

let stack: Stack;
beforeAll(async () => void (stack = await startPrivateStack()), 120_000);
afterAll(() => stack.stop());

it('finds a queue that nobody leads, and makes it anew with its bindings', async () => {
  const management = openManagement({ fetch }, stack.managementUrl);
  const entry = {
    id: 'lost',
    number: 1,
    kind: 'unit',
    place: { latitude: 0, longitude: 0 },
    weight: 1,
    status: 'active',
    access: 'managed',
    brokerUrls: ['amqp://lost:secret@127.0.0.1/lost'],
    databaseUrls: [],
  } as const;
  const shape = shapeOf(
    { ...entry, brokerUrls: [...entry.brokerUrls], databaseUrls: [] },
    planTopology([], []),
    { features: featuresOf('3.10.8'), nodes: 1 },
  );
  const drift = async (): Promise<readonly Change[]> =>
    driftOf(shape, { ...(await look(management, shape)), statistics: 'settled' });
  await makeBroker(management, shape, await drift());
  await until(20_000, async () => (await drift()).length === 0);

  await stack.parts.rabbitmq.kill();
  const data = path.join(stack.addresses.dir, 'rabbitmq', 'data');
  for (const node of readdirSync(data))
    rmSync(path.join(data, node, 'quorum'), { recursive: true, force: true });
  await stack.parts.rabbitmq.start();
  const lost = await drift();
  expect(lost.map(describeChange)).toEqual([
    '~ queue setway.dead: nobody leads it although every node is there: RabbitMQ has lost it, it is made anew',
  ]);

  await makeBroker(management, shape, lost);
  await until(20_000, async () => (await drift()).length === 0);
  const bound = (await management.bindings.list('lost')).filter(({ source }) => source !== '');
  expect(bound).toHaveLength(1);
}, 120_000);
