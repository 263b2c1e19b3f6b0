/**
 * What a subscriber that hangs and one that answers 500 cost the others: the time from publish to webhook of twenty
 * subscriptions, first alone, then beside those two, on one host.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Child } from './child.ts';
import { percentile, type Measurement } from './measurement.ts';
import { setwayRequest, type BenchParts } from './publish-bench.ts';
import { isolatedTopic, troubledTopic, type World } from './world.ts';

/** Publishes per second, to each of the two topics: well below what a host carries, since a queue of its own is not measured. */
const publishesPerSecond = 10;
const drainMs = 3_000;
/** How much the p99 may grow. */
const toleratedGrowth = 1.1;

export interface IsolationReceiver {
  /** Without a slash at the end. */
  readonly url: string;
  /** From publish to webhook, in milliseconds, of all that came since the last call. */
  take(): Float64Array;
  close(): void;
}

/** `/fine` answers at once, `/broken` 500, and `/hanging` never. */
export async function startIsolationReceiver(): Promise<IsolationReceiver> {
  let latenciesMs: number[] = [];
  const server = createServer((request, response) => {
    const arrivedMs = Date.now();
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      if (request.url === '/hanging') return;
      if (request.url === '/broken') return void response.writeHead(500).end();
      const { sentMs } = JSON.parse(Buffer.concat(parts).toString()) as { readonly sentMs: number };
      latenciesMs.push(arrivedMs - sentMs);
      response.writeHead(200).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    take() {
      const taken = Float64Array.from(latenciesMs).sort();
      latenciesMs = [];
      return taken;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

export async function benchIsolation(
  parts: BenchParts,
  { name, server, world }: { readonly name: string; readonly server: Child; readonly world: World },
  receiver: IsolationReceiver,
): Promise<readonly Measurement[]> {
  const measure = async (what: string, topics: readonly string[]): Promise<Measurement> => {
    await world.wake(...topics);
    // The first calls open connections.
    await publishFor(server, world, topics, 1);
    receiver.take();
    await publishFor(server, world, topics, parts.seconds);
    const latencies = receiver.take();
    const measured = {
      name: `${name}, 20 subscriptions ${what}`,
      rate: latencies.length / parts.seconds,
      unit: 'deliveries/s',
      p50Ms: percentile(latencies, 0.5),
      p99Ms: percentile(latencies, 0.99),
    } as const;
    parts.report(`${measured.name}: p99 ${measured.p99Ms.toFixed(1)} ms of ${latencies.length} deliveries`);
    return measured;
  };
  const alone = await measure('alone', [isolatedTopic]);
  const beside = await measure('beside one that hangs and one that fails', [isolatedTopic, troubledTopic]);
  const growth = { of: `p99 of ${alone.name}`, ratio: (alone.p99Ms ?? 0) / (beside.p99Ms ?? 1) };
  return [alone, { ...beside, against: [{ ...growth, target: 1 / toleratedGrowth }] }];
}

/** At an even pace, then waits for what is still under way. */
async function publishFor(
  server: Child,
  world: World,
  topics: readonly string[],
  seconds: number,
): Promise<void> {
  const publish = async (topic: string): Promise<void> => {
    const { path, headers } = setwayRequest(world, topic, 'confirm');
    const body = JSON.stringify({ topic, body: { sentMs: Date.now() } });
    const answer = await fetch(server.url + path, { method: 'POST', headers, body });
    await answer.body?.cancel();
    if (!answer.ok) throw new Error(`${topic} was refused with ${answer.status}.`);
  };
  const under: Promise<void>[] = [];
  for (let n = 0; n < seconds * publishesPerSecond; n++) {
    under.push(...topics.map(publish));
    await new Promise((resolve) => setTimeout(resolve, 1000 / publishesPerSecond));
  }
  await Promise.all(under);
  await new Promise((resolve) => setTimeout(resolve, drainMs));
}
