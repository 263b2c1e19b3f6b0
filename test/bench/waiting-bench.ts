/** What messages that wait for their time cost those that do not: publishing before and while many wait. */
import type { Child } from './child.ts';
import { generateLoad, prime } from './load.ts';
import { compare, summarize, withUsage, type Measurement } from './measurement.ts';
import { connections, payload, setwayRequest, type BenchParts } from './publish-bench.ts';
import { publishTopic, type World } from './world.ts';

const bulkSize = 1_000;
const requestsAtOnce = 4;
/** The first falls due long after the measurement, the others spread over a day. */
const firstDueMs = 3_600_000;
const spreadMs = 86_400_000;

export async function benchWaiting(
  parts: BenchParts,
  { name, server, world }: { readonly name: string; readonly server: Child; readonly world: World },
  waiting: number,
): Promise<readonly Measurement[]> {
  const amount = waiting.toLocaleString('en');
  const before = await measureConfirm(parts, { server, world, name: `${name}, confirm, nothing waits` });
  await schedule(parts, { server, world, waiting });
  const after = await measureConfirm(parts, { server, world, name: `${name}, confirm, ${amount} wait` });
  return [before, compare(after, before)];
}

async function measureConfirm(
  { seconds, report }: BenchParts,
  { name, server, world }: { readonly name: string; readonly server: Child; readonly world: World },
): Promise<Measurement> {
  const request = { ...setwayRequest(world, publishTopic, 'confirm'), url: server.url };
  await prime(request);
  const plan = { ...request, connections, warmupSeconds: seconds / 2, seconds, maxRequests: Infinity };
  const { result, ...usage } = await withUsage(server, () => generateLoad(plan));
  await world.purge(publishTopic);
  const measured = summarize(name, [{ report: result, ...usage }]);
  report(`${name}: ${Math.round(measured.rate)} requests/s`);
  return measured;
}

/** Each at a time of its own, so that each has an agenda entry of its own. */
async function schedule(
  { report }: BenchParts,
  { server, world, waiting }: { readonly server: Child; readonly world: World; readonly waiting: number },
): Promise<void> {
  const { headers } = setwayRequest(world, publishTopic, 'confirm');
  const firstMs = Date.now() + firstDueMs;
  const beganMs = performance.now();
  let taken = 0;
  const send = async (): Promise<void> => {
    while (taken < waiting) {
      const from = taken;
      taken += bulkSize;
      const items = Array.from({ length: bulkSize }, (_, index) => {
        const deliverAt = new Date(firstMs + ((from + index) * spreadMs) / waiting).toISOString();
        return `{"topic":"${publishTopic}","deliverAt":"${deliverAt}","body":${payload}}`;
      });
      const body = `[${items.join(',')}]`;
      const answer = await fetch(`${server.url}/v1/messages/bulk`, { method: 'POST', headers, body });
      const { results } = (await answer.json()) as {
        readonly results?: readonly { readonly state: string }[];
      };
      if (results?.every(({ state }) => state === 'scheduled') !== true)
        throw new Error(`A message was not scheduled (HTTP ${answer.status}).`);
      const sent = from + bulkSize;
      if (sent % 100_000 === 0) report(`${sent.toLocaleString('en')} messages wait`);
    }
  };
  await Promise.all(Array.from({ length: requestsAtOnce }, send));
  const rate = (waiting * 1000) / (performance.now() - beganMs);
  report(`scheduled ${Math.round(rate)} messages/s in bulk`);
}
