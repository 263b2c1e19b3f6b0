/**
 * Hands what waits in queues to the queues of the same names at a sibling, over dynamic shovels in the vhost that goes:
 * each message is confirmed there before it is acked here, so a break makes a second copy under the same id, never none.
 * Before it the messages themselves are copied into the sibling's databases: it tries failed deliveries again from there.
 * Ordered messages are not handed over: their places in their lanes are not the sibling's.
 *
 * A shovel that is done deletes itself and one that fails does so too, so neither says anything: the source is asked
 * whether it is empty. https://www.rabbitmq.com/docs/shovel-dynamic
 */
import type { Broker } from '../broker/broker.ts';
import type { SetEntry } from '../catalog/document.ts';
import { Problem } from '../problem.ts';
import type { Management } from '../topology/management.ts';
import { subscriptionOf } from '../topology/names.ts';
import { loginOf } from './broker-url.ts';
import { copyUndelivered } from './copy-undelivered.ts';
import type { FleetParts } from './fleet.ts';

export interface Shovelling {
  /** Of the cluster that goes. */
  readonly management: Management;
  /** Opened. */
  readonly from: SetEntry;
  readonly to: SetEntry;
  readonly queues: readonly string[];
}

/** What has not moved by then is told, and moves on at the next try. */
const maxMs = 60_000;
const lookEveryMs = 250;

/** @throws Problem `conflict` when the sibling takes nothing new, or the source is not empty in time */
export async function shovelQueues(
  parts: FleetParts,
  { management, from, to, queues }: Shovelling,
): Promise<void> {
  if (to.status !== 'active')
    throw new Problem(
      'conflict',
      `SET "${to.id}" is ${to.status} and takes nothing new. Name another sibling.`,
    );
  const { vhost } = loginOf(from.brokerUrls[0] ?? '');
  await expectQueues(parts, to, queues);
  await copyUndelivered(parts, {
    from,
    to,
    subscriptions: queues.flatMap((queue) => subscriptionOf(queue) ?? []),
  });
  const names = queues.map((queue) => ({ queue, name: `setway-retire-${queue}` }));
  for (const { name, queue } of names)
    await management.parameters.put('shovel', vhost, { name, value: shovelOf(from, to, queue) });
  try {
    await parts.withBroker(from.brokerUrls, (broker) =>
      emptied(parts, { broker, management, vhost, queues }),
    );
  } catch (error) {
    const states = await management.links.shovels(vhost).catch(() => []);
    const told = states.map(
      ({ name, state, reason }) => `${name} ${state}${reason === undefined ? '' : ` (${reason})`}`,
    );
    throw new Problem(
      'conflict',
      `Not all of "${from.id}" is with "${to.id}" after ${maxMs / 1000} s; what has moved is safe there. ${told.join(', ')} Try again.`,
      { cause: error },
    );
  } finally {
    for (const { name } of names) await management.parameters.remove('shovel', vhost, name);
  }
  parts.report(`${from.id}: ${queues.length} queues shovelled to ${to.id}, the sources are empty`);
}

/** With both ends spoken to as its own user: nobody else may do it. */
function shovelOf(from: SetEntry, to: SetEntry, queue: string): object {
  return {
    'src-protocol': 'amqp091',
    'src-uri': from.brokerUrls,
    'src-queue': queue,
    'src-delete-after': 'never',
    'dest-protocol': 'amqp091',
    'dest-uri': to.brokerUrls,
    'dest-queue': queue,
    'ack-mode': 'on-confirm',
    'reconnect-delay': 1,
  };
}

/** A shovel would declare a missing queue as a classic one. */
async function expectQueues(
  { withBroker }: FleetParts,
  to: SetEntry,
  queues: readonly string[],
): Promise<void> {
  const there = await withBroker(to.brokerUrls, (broker) => broker.depths(queues));
  const missing = queues.filter((queue) => !there.has(queue));
  if (missing.length > 0)
    throw new Problem('conflict', `SET "${to.id}" has no queue ${missing.join(', ')}. Name another sibling.`);
}

interface Emptying {
  readonly broker: Broker;
  readonly management: Management;
  readonly vhost: string;
  readonly queues: readonly string[];
}

/** AMQP counts the ready ones exactly; those a shovel has in hand are in the statistics alone, which come later. */
async function emptied(
  { clock }: FleetParts,
  { broker, management, vhost, queues }: Emptying,
): Promise<void> {
  const endMs = clock.nowMs() + maxMs;
  while (clock.nowMs() < endMs) {
    const depths = await broker.depths(queues);
    if (queues.every((queue) => (depths.get(queue) ?? 0) === 0)) {
      const listed = await management.queues.list(vhost);
      if (listed.every(({ name, messages }) => messages === 0 || !queues.includes(name))) return;
    }
    await new Promise<void>((resolve) => void clock.after(lookEveryMs, resolve));
  }
  throw new Problem('conflict', 'The queues are not empty in time.');
}
