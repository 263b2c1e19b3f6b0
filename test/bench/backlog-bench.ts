/**
 * A backlog: messages of 1 KiB that wait for a paused subscription. What RabbitMQ and the process keep in memory before, while
 * they come and when all wait, and how fast they are delivered beside a backlog of seconds.
 */
import type { Child } from './child.ts';
import { measureDrain } from './delivery-bench.ts';
import { compare, type Measurement } from './measurement.ts';
import { setwayRequest, type BenchParts } from './publish-bench.ts';
import { callManagement } from '../stack/rabbitmq.ts';
import { deliveryTopic, type World } from './world.ts';

const bulkSize = 500;
const requestsAtOnce = 4;
const topic = deliveryTopic(256, 'plain');
/** How often the fill tells where it is. */
const stages = 10;
/** RabbitMQ's statistics are 2 s old at most (`collect_statistics_interval` of the stack), a queue's own up to 5 s. */
const statisticsMs = 7_000;
/** Slower than this, a drain is given up. */
const leastRate = 300;
const bodyBytes = 1_024;
const body = JSON.stringify({ pad: 'x'.repeat(bodyBytes - JSON.stringify({ pad: '' }).length) });

interface Backlog {
  readonly name: string;
  readonly server: Child;
  readonly world: World;
}

/** The rate without a backlog is that of as many messages as are delivered within the seconds of a measurement. */
export async function benchBacklog(
  parts: BenchParts & { readonly receiver: Child },
  setway: Backlog,
  backlog: number,
): Promise<readonly Measurement[]> {
  const few = Math.max(bulkSize, Math.round((parts.seconds * 3_000) / bulkSize) * bulkSize);
  const without = await fillAndDrain(parts, setway, few);
  return [without, compare(await fillAndDrain(parts, setway, backlog), without)];
}

async function fillAndDrain(
  parts: BenchParts & { readonly receiver: Child },
  { name, server, world }: Backlog,
  messages: number,
): Promise<Measurement> {
  // Nobody is awake.
  await world.wake();
  const amount = messages.toLocaleString('en');
  const tell = async (what: string): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, statisticsMs));
    const { node, queues } = await memoryOf(parts);
    const process = server.usage().rssBytes;
    parts.report(`${what}: RabbitMQ ${mib(node)}, of it queues ${mib(queues)}; ${name} ${mib(process)}`);
  };
  await tell('nothing waits');
  const stage = Math.ceil(messages / stages / bulkSize) * bulkSize;
  for (let filled = 0; filled < messages; filled += stage) {
    const part = Math.min(stage, messages - filled);
    const rate = await fill(server, world, part);
    const waiting = `${(filled + part).toLocaleString('en')} messages wait (${Math.round(rate)}/s)`;
    if (messages >= stages * 1_000) await tell(waiting);
    else parts.report(waiting);
  }
  const deadlineMs = 60_000 + (messages * 1_000) / leastRate;
  const drain = { name: `${name}, delivery of ${amount} × 1 KiB that waited`, messages, deadlineMs };
  const measured = await measureDrain(parts, server, { ...drain, receiver: parts.receiver }, () =>
    world.wake(topic),
  );
  await tell('all are delivered');
  return measured;
}

/** @returns messages stored and confirmed per second */
async function fill(server: Child, world: World, messages: number): Promise<number> {
  const { headers } = setwayRequest(world, topic, 'confirm', { prefer: 'wait=10' });
  const item = `{"topic":"${topic}","body":${body}}`;
  const bulk = `[${Array.from({ length: bulkSize }, () => item).join(',')}]`;
  const beganMs = performance.now();
  let taken = 0;
  const send = async (): Promise<void> => {
    while (taken < messages) {
      taken += bulkSize;
      const answer = await fetch(`${server.url}/v1/messages/bulk`, { method: 'POST', headers, body: bulk });
      const { results } = (await answer.json()) as {
        readonly results?: readonly { readonly status: number }[];
      };
      if (results?.every(({ status }) => status === 202) !== true)
        throw new Error(`A message was refused (HTTP ${answer.status}).`);
    }
  };
  await Promise.all(Array.from({ length: requestsAtOnce }, send));
  return (messages * 1_000) / (performance.now() - beganMs);
}

/** What the node of RabbitMQ has in memory, and of it the processes of its quorum queues. */
async function memoryOf({ stack }: BenchParts): Promise<{ readonly node: number; readonly queues: number }> {
  const ask = async (path: string): Promise<unknown> =>
    (await callManagement(stack.managementUrl, 'GET', path)).json();
  const [node] = (await ask('/api/nodes')) as readonly { readonly name: string; readonly mem_used: number }[];
  if (!node) throw new Error('RabbitMQ names no node.');
  const { memory } = (await ask(`/api/nodes/${node.name}/memory`)) as {
    readonly memory: { readonly quorum_queue_procs: number };
  };
  return { node: node.mem_used, queues: memory.quorum_queue_procs };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
