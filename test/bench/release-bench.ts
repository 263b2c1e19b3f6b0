/**
 * Delayed messages that fall due, a thousand a second: how late each is with the broker, confirmed, by the database's
 * clock. Nothing is delivered meanwhile: its subscription is paused.
 */
import { query } from '../stack/query.ts';
import { until } from '../stack/until.ts';
import type { Child } from './child.ts';
import { withUsage, type Measurement } from './measurement.ts';
import { payload, setwayRequest, type BenchParts } from './publish-bench.ts';
import { publishTopic, type World } from './world.ts';

const duePerSecond = 1_000;
const bulkSize = 100;
/** Time to publish all before the first falls due. */
const leadMs = 4_000;
const deadlineMs = 60_000;

/** @throws Error when a message was sent before its time */
export async function benchRelease(
  parts: BenchParts,
  { name, server, world }: { readonly name: string; readonly server: Child; readonly world: World },
): Promise<Measurement> {
  const title = `${name}, release of ${duePerSecond.toLocaleString('en')} due a second`;
  const messages = Math.ceil((parts.seconds * duePerSecond) / bulkSize) * bulkSize;
  const { result: late, ...usage } = await withUsage(server, async () => {
    await schedule(server, world, messages);
    parts.report(`${title}: ${messages} messages wait`);
    return until(deadlineMs, () => latenessOf(world, messages));
  });
  if (late.earliestMs < 0) throw new Error(`${title}: a message was ${-late.earliestMs} ms early.`);
  await world.purge(publishTopic);
  parts.report(`${title}: p50 ${late.p50Ms.toFixed(0)} ms, p99 ${late.p99Ms.toFixed(0)} ms late`);
  return {
    name: title,
    rate: messages / late.seconds,
    unit: 'messages/s',
    p50Ms: late.p50Ms,
    p99Ms: late.p99Ms,
    cpuUs: (usage.cpuMs * 1000) / messages,
    rssMiB: usage.rssBytes / 2 ** 20,
  };
}

async function schedule(server: Child, world: World, messages: number): Promise<void> {
  const { headers } = setwayRequest(world, publishTopic, 'confirm');
  const firstMs = Date.now() + leadMs;
  for (let from = 0; from < messages; from += bulkSize) {
    const items = Array.from({ length: bulkSize }, (_, index) => {
      const deliverAt = new Date(firstMs + ((from + index) * 1000) / duePerSecond).toISOString();
      return `{"topic":"${publishTopic}","deliverAt":"${deliverAt}","body":${payload}}`;
    });
    const body = `[${items.join(',')}]`;
    const answer = await fetch(`${server.url}/v1/messages/bulk`, { method: 'POST', headers, body });
    const { results } = (await answer.json()) as { readonly results: readonly { readonly state: string }[] };
    if (results.some(({ state }) => state !== 'scheduled')) throw new Error('A message was not scheduled.');
  }
}

interface Lateness {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly earliestMs: number;
  readonly seconds: number;
}

/** Undefined until all are confirmed. */
async function latenessOf({ databaseUrl }: World, messages: number): Promise<Lateness | undefined> {
  const [row] = await query(
    databaseUrl,
    `SELECT count(*)::int AS confirmed, min(late) AS earliest,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY late) AS p50, percentile_cont(0.99) WITHIN GROUP (ORDER BY late) AS p99,
       extract(epoch FROM max(confirmed_at) - min(confirmed_at))::float8 AS seconds
     FROM (SELECT confirmed_at, (extract(epoch FROM confirmed_at - deliver_at) * 1000)::float8 AS late
       FROM message WHERE deliver_at IS NOT NULL AND state = 'CONFIRMED') AS released`,
  );
  if (Number(row?.['confirmed']) < messages) return undefined;
  return {
    p50Ms: Number(row?.['p50']),
    p99Ms: Number(row?.['p99']),
    earliestMs: Number(row?.['earliest']),
    seconds: Number(row?.['seconds']),
  };
}
