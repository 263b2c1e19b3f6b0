/**
 * Ordered delivery: the same drain as in delivery-bench.ts, of messages that wait in one lane, where each is called after
 * the success of the one before, and in many lanes side by side.
 */
import type { Child } from './child.ts';
import { measureDrain } from './delivery-bench.ts';
import { compare, type Measurement } from './measurement.ts';
import { payload, setwayRequest, type BenchParts } from './publish-bench.ts';
import { laneCounts, orderedTopic, type World } from './world.ts';

/** Messages per second of measurement: about what is delivered. */
const messagesPerSecond: Readonly<Record<number, number>> = { 1: 300, 1_000: 4_000 };
const bulkSize = 100;

/** @param unordered deliveries of as many calls at once without any order */
export async function benchOrdered(
  parts: BenchParts & { readonly receiver: Child },
  setway: { readonly name: string; readonly server: Child; readonly world: World },
  unordered: Measurement | undefined,
): Promise<readonly Measurement[]> {
  const measured: Measurement[] = [];
  for (const lanes of laneCounts) {
    const messages = Math.ceil((parts.seconds * (messagesPerSecond[lanes] ?? 0)) / bulkSize) * bulkSize;
    const name = `${setway.name}, ordered in ${lanes.toLocaleString('en')} lane${lanes === 1 ? '' : 's'}`;
    await fill(setway, lanes, messages);
    parts.report(`${name}: ${messages} messages wait`);
    const drain = { name, messages, receiver: parts.receiver };
    const delivered = await measureDrain(parts, setway.server, drain, () =>
      setway.world.wake(orderedTopic(lanes)),
    );
    measured.push(unordered && lanes > 1 ? compare(delivered, unordered) : delivered);
  }
  return measured;
}

/** Lane after lane in turn, so that all of them go on to the end. */
async function fill(
  { server, world }: { readonly server: Child; readonly world: World },
  lanes: number,
  messages: number,
): Promise<void> {
  const topic = orderedTopic(lanes);
  const { headers } = setwayRequest(world, topic, 'confirm', { prefer: 'wait=10' });
  for (let from = 0; from < messages; from += bulkSize) {
    const items = Array.from(
      { length: bulkSize },
      (_, index) => `{"topic":"${topic}","lane":"lane-${(from + index) % lanes}","body":${payload}}`,
    );
    const body = `[${items.join(',')}]`;
    const answer = await fetch(`${server.url}/v1/messages/bulk`, { method: 'POST', headers, body });
    const { results } = (await answer.json()) as { readonly results: readonly { readonly status: number }[] };
    if (results.some(({ status }) => status !== 202))
      throw new Error(`A lane refused a message of ${topic}.`);
  }
}
