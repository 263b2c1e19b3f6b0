/**
 * Delivery: webhook calls per second out of a queue that was filled before, signed and recorded, beside a bare
 * consumer with as many calls under way. Counted by the receiver, from the first call to the last.
 */
import type { ConfirmsReport } from './bare-confirms.ts';
import { startScript, type Child } from './child.ts';
import { generateLoad, prime } from './load.ts';
import { compare, withUsage, type Measurement } from './measurement.ts';
import { connections, payload, setwayRequest, type BenchParts } from './publish-bench.ts';
import type { ReceiverReport } from './receiver.ts';
import { createBareQueue, deliveryTopic, purgeQueue, type Receiving, type World } from './world.ts';

/** The default of a subscription, and what shows the cost of one call and of many. */
export const concurrencies = [32, 1, 256] as const;

/** Messages per second of measurement: about what a consumer of that concurrency delivers. */
const messagesPerSecond: Readonly<Record<number, number>> = { 1: 1_000, 32: 6_000, 256: 6_000 };
/** Beyond this the drain is given up and reported as a fault. */
const drainDeadlineMs = 180_000;

export interface Drain {
  readonly name: string;
  readonly messages: number;
  readonly receiver: Child;
  /** Beyond this it is given up; three minutes by default. */
  readonly deadlineMs?: number;
}

/** @param name how the platform is called in the result */
export async function benchDelivery(
  parts: BenchParts & { readonly receiver: Child },
  setway: { readonly name: string; readonly server: Child; readonly world: World },
  bare: ReadonlyMap<number, Measurement>,
): Promise<readonly Measurement[]> {
  const measured: Measurement[] = [];
  for (const concurrency of concurrencies) {
    for (const receiving of ['plain', 'guarded'] as const) {
      const what = receiving === 'plain' ? 'delivery' : 'delivery to a guarded handler';
      const drain = drainOf(parts, `${setway.name}, ${what} × ${concurrency}`, concurrency);
      const topic = deliveryTopic(concurrency, receiving);
      const delivered = await drainThroughSetway(parts, setway, { ...drain, topic });
      const base = bare.get(concurrency);
      measured.push(
        base ? compare(delivered, base, targetOf(setway.name, concurrency, receiving)) : delivered,
      );
    }
  }
  return measured;
}

function targetOf(platform: string, concurrency: number, receiving: Receiving): number | undefined {
  if (platform !== 'Node') return undefined;
  if (receiving === 'guarded') return 0.7;
  return concurrency === 32 ? 0.6 : undefined;
}

export async function benchBareDelivery(
  parts: BenchParts & { readonly receiver: Child },
): Promise<ReadonlyMap<number, Measurement>> {
  const measured = new Map<number, Measurement>();
  for (const concurrency of concurrencies) {
    const drain = drainOf(parts, `bare consumer × ${concurrency}`, concurrency);
    measured.set(concurrency, await drainThroughBare(parts, { ...drain, concurrency }));
  }
  return measured;
}

function drainOf(parts: BenchParts & { readonly receiver: Child }, name: string, concurrency: number): Drain {
  const messages = Math.round(parts.seconds * (messagesPerSecond[concurrency] ?? 0));
  return { name, messages, receiver: parts.receiver };
}

async function drainThroughSetway(
  parts: BenchParts,
  { server, world }: { readonly server: Child; readonly world: World },
  { topic, ...drain }: Drain & { readonly topic: string },
): Promise<Measurement> {
  const request = { ...setwayRequest(world, topic, 'confirm'), url: server.url };
  await prime(request);
  const filling = await generateLoad({
    ...request,
    connections,
    warmupSeconds: 0,
    seconds: drainDeadlineMs / 1000,
    maxRequests: drain.messages - 1,
  });
  parts.report(`${drain.name}: ${filling.answers + 1} messages wait`);
  const measured = await measureDrain(parts, server, drain, () => world.wake(topic));
  return measured;
}

async function drainThroughBare(
  parts: BenchParts,
  { concurrency, ...drain }: Drain & { readonly concurrency: number },
): Promise<Measurement> {
  const { stack } = parts;
  const { vhost, queue, env } = await createBareQueue(stack, `consumer-${concurrency}`);
  await fill(env, drain.messages);
  const target = { BENCH_TARGET: drain.receiver.url, BENCH_CONCURRENCY: String(concurrency) };
  const consumer = await startScript('bare-consumer.ts', { ...env, ...target });
  const measured = await measureDrain(parts, consumer, drain, () => consumer.ask({ begin: true }));
  await consumer.stop();
  await purgeQueue(stack, vhost, queue);
  return measured;
}

async function fill(env: Readonly<Record<string, string>>, messages: number): Promise<void> {
  const child = await startScript('bare-confirms.ts', env);
  const plan = { body: payload, window: 500, seconds: Infinity, maxMessages: messages };
  await child.ask<ConfirmsReport>(plan);
  await child.stop();
}

export async function measureDrain(
  { report }: BenchParts,
  server: Child,
  { name, messages, receiver, deadlineMs = drainDeadlineMs }: Drain,
  begin: () => Promise<unknown>,
): Promise<Measurement> {
  const { result, cpuMs, rssBytes } = await withUsage(server, async () => {
    const received = receiver.ask<ReceiverReport>({ calls: messages, deadlineMs });
    await begin();
    return received;
  });
  if (result.calls < messages)
    throw new RangeError(`${name}: only ${result.calls} of ${messages} messages were delivered in time.`);
  const rate = result.calls / result.seconds;
  report(`${name}: ${Math.round(rate)} deliveries/s`);
  const cpuUs = (cpuMs * 1000) / messages;
  return { name, rate, unit: 'deliveries/s', cpuUs, rssMiB: rssBytes / 2 ** 20 };
}
