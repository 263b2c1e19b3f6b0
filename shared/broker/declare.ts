/**
 * Declares exchanges, queues and bindings on a channel of its own: a refused declaration closes its channel, so the
 * rest goes on with a new one and all refusals are told together.
 */
import type { Channel, ChannelModel } from 'amqplib';
import { Problem } from '../problem.ts';
import type { Topology } from '../topology/plan.ts';
import { toBrokerProblem, unavailable } from './amqp-problem.ts';

interface Step {
  readonly doing: string;
  readonly run: (channel: Channel) => Promise<unknown>;
}

/**
 * Idempotent. Durable all of it; what exists and is not in the topology stays.
 * @throws Problem `conflict` when something exists with other arguments, naming each; `broker-unavailable` when the
 * connection broke on the way
 */
export async function declareTopology(model: ChannelModel, topology: Topology): Promise<void> {
  const problems: Problem[] = [];
  let channel: Channel | undefined;
  for (const step of stepsOf(topology)) {
    try {
      channel ??= await openChannel(model);
      await step.run(channel);
    } catch (error) {
      channel = undefined;
      const problem = toBrokerProblem(error, step.doing);
      if (problem.kind === 'broker-unavailable') throw problem;
      problems.push(problem);
    }
  }
  await channel?.close().catch((error: unknown) => {
    throw unavailable('The connection broke while the topology was declared.', error);
  });
  if (problems.length > 0) throw summary(problems);
}

async function openChannel(model: ChannelModel): Promise<Channel> {
  const channel = await model.createChannel();
  channel.on('error', () => {}); // the refused step rejects with the same reason
  return channel;
}

function stepsOf({ exchanges, queues, bindings }: Topology): Step[] {
  return [
    ...exchanges.map(({ name, type }) => ({
      doing: `declare the exchange "${name}"`,
      run: (channel: Channel) => channel.assertExchange(name, type, { durable: true }),
    })),
    ...queues.map((queue) => ({
      doing: `declare the queue "${queue.name}"`,
      run: (channel: Channel) =>
        channel.assertQueue(queue.name, { durable: true, arguments: { ...queue.arguments } }),
    })),
    ...bindings.map(({ exchange, queue, bindingKey }) => ({
      doing: `bind the queue "${queue}" to the exchange "${exchange}"`,
      run: (channel: Channel) => channel.bindQueue(queue, exchange, bindingKey),
    })),
  ];
}

function summary(problems: readonly Problem[]): Problem {
  const [first] = problems;
  const faults = problems.map((problem) => ({ at: 'topology', detail: problem.message }));
  return new Problem(first?.kind ?? 'conflict', problems.map((problem) => problem.message).join(' '), {
    cause: first,
    faults,
  });
}
