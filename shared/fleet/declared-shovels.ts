/**
 * Shovels that an operator declares: RabbitMQ itself moves messages from a queue of one SET to one of another, each
 * confirmed there before it is acked here, so a break makes a second copy and never none. They stand in the vhost of the
 * source, as parameters `setway-shovel-<name>`, and work until they are removed.
 * https://www.rabbitmq.com/docs/shovel-dynamic
 */
import { didYouMean } from '../nearest-name.ts';
import { Problem } from '../problem.ts';
import { linkUri } from './federation.ts';
import type { Management, Parameter } from '../topology/management.ts';

/** One end of a shovel. */
export interface ShovelEnd {
  readonly set: string;
  readonly management: Pick<Management, 'queues' | 'parameters' | 'links'>;
  readonly brokerUrls: readonly string[];
  readonly vhost: string;
  readonly queue: string;
}

export interface ShovelState {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** `running`, `starting`, `terminated`, or `none` while RabbitMQ knows of none. */
  readonly state: string;
  readonly reason?: string;
}

const prefix = 'setway-shovel-';

/**
 * Safe to repeat; another one of this name in the same SET is replaced.
 * @throws Problem `not-found` when one of the queues is not there: a shovel would make a classic one
 */
export async function declareShovel(name: string, from: ShovelEnd, to: ShovelEnd): Promise<void> {
  for (const { set, management, vhost, queue } of [from, to]) {
    const names = (await management.queues.list(vhost)).map((each) => each.name);
    if (!names.includes(queue))
      throw new Problem('not-found', `SET "${set}" has no queue "${queue}".${didYouMean(queue, names)}`);
  }
  await from.management.parameters.put('shovel', from.vhost, shovelParameter(name, from, to));
}

function shovelParameter(name: string, from: ShovelEnd, to: ShovelEnd): Parameter {
  return {
    name: prefix + name,
    value: {
      'src-protocol': 'amqp091',
      'src-uri': from.brokerUrls.map(linkUri),
      'src-queue': from.queue,
      'src-delete-after': 'never',
      'dest-protocol': 'amqp091',
      'dest-uri': to.brokerUrls.map(linkUri),
      'dest-queue': to.queue,
      'ack-mode': 'on-confirm',
      'reconnect-delay': 5,
    },
  };
}

type ShovelCalls = Pick<Management, 'parameters' | 'links'>;

/** Those that an operator declared in a vhost. */
export async function readShovels(
  { parameters, links }: ShovelCalls,
  vhost: string,
): Promise<readonly ShovelState[]> {
  const [declared, states] = await Promise.all([parameters.list('shovel', vhost), links.shovels(vhost)]);
  return declared.flatMap(({ name, value }) => {
    if (!name.startsWith(prefix)) return [];
    const { 'src-queue': from, 'dest-queue': to } = value as Readonly<Record<string, unknown>>;
    const found = states.find((each) => each.name === name);
    const reason = found?.reason === undefined ? {} : { reason: found.reason };
    return [
      {
        name: name.slice(prefix.length),
        from: String(from),
        to: String(to),
        state: found?.state ?? 'none',
        ...reason,
      },
    ];
  });
}

/** What it had in hand goes back to its source. @throws Problem `not-found` */
export async function removeShovel(management: ShovelCalls, vhost: string, name: string): Promise<void> {
  const names = (await readShovels(management, vhost)).map((each) => each.name);
  if (!names.includes(name))
    throw new Problem('not-found', `There is no shovel "${name}" in "${vhost}".${didYouMean(name, names)}`);
  await management.parameters.remove('shovel', vhost, prefix + name);
}
