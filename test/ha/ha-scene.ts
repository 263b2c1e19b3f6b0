/**
 * One scene of the HA tests: a deployment on two clusters, orders that never stop coming while something breaks, and the
 * books afterwards.
 */
import { expect } from 'vitest';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { settledBooks, type Books } from '../chaos/books.ts';
import { longestGap, publishOrders, type Orders } from '../chaos/orders.ts';
import { setSceneOn, type Scene } from '../chaos/storm.ts';
import { privatePlace, ownServersOnly } from '../stack/current-stack.ts';
import { startHaStack, type HaStack } from '../stack/ha-stack.ts';
import { portsFrom } from '../stack/ports.ts';
import { query } from '../stack/query.ts';

/** Two clusters of three start on a busy machine. */
export const startDeadlineMs = 300_000;
export const testDeadlineMs = 400_000;
const settleDeadlineMs = 180_000;
/** A load that leaves the machine time to notice what is broken: about 100 orders a second. */
const load = { concurrency: 4, restMs: 30 };
/** Orders that are accepted before something breaks, and after it was mended. */
const ordersAround = 200;

/** @param virtualAddress see HaStackOptions */
export function startTestHaStack(virtualAddress: 'where-possible' | 'loopback'): Promise<HaStack> {
  const log = (line: string): void => console.info(line);
  return startHaStack({ ...privatePlace(0), data: 'fresh', log, virtualAddress, env: ownServersOnly() });
}

/** Names of queues are on disk afterwards: RabbitMQ 3.10 loses a queue whose node is killed within its first seconds. */
export async function syncQueueNames(stack: HaStack): Promise<void> {
  for (const set of Object.values(stack.sets)) await set.cluster.syncQueueNames();
}

export function openHaScene(stack: HaStack, change = (seed: SeedInput): SeedInput => seed): Promise<Scene> {
  return setSceneOn({
    webhookPort: portsFrom(stack.base.addresses.portBase).webhooks,
    redisUrl: stack.base.redisUrl,
    deploy: (prefix, changeAll) =>
      stack.deploy(
        prefix,
        () => {},
        (seed) => change(changeAll(seed)),
      ),
  });
}

export interface Weathered {
  readonly books: Books;
  /** The longest time without a 202, from the first order to the last. */
  readonly longestPauseMs: number;
  /** The longest time without a confirm of a broker of Hangzhou, where the strikes are, in the same span. */
  readonly longestConfirmPauseMs: number;
}

export interface HaStorm {
  readonly urls: readonly string[];
  /** Breaks something, asserts that it is broken, and mends it. */
  readonly strike: (orders: Orders) => Promise<void>;
}

/**
 * Orders before, during and after the strike; then everything is settled.
 * @throws when it does not settle in time, with what is missing
 */
export async function weatherHa(scene: Scene, { urls, strike }: HaStorm): Promise<Weathered> {
  const { deployment, receipts } = scene;
  const total = Number.MAX_SAFE_INTEGER;
  const orders = publishOrders({ urls, apiKey: deployment.apiKey, total, ...load });
  const { accepted } = orders;
  try {
    await orders.reached(ordersAround);
    await strike(orders);
    await orders.reached(accepted.size + ordersAround);
    await orders.finish();
    const books = await settledBooks({ deployment, accepted, receipts }, settleDeadlineMs);
    return {
      books,
      longestPauseMs: longestGap(orders.acceptedAtMs),
      longestConfirmPauseMs: await longestConfirmGap(deployment.databaseUrls['hangzhou'] ?? ''),
    };
  } catch (error) {
    const answers = JSON.stringify({ accepted: accepted.size, refusals: [...orders.refusals] });
    throw new Error(`${String(error)}\nThe publisher saw: ${answers}`, { cause: error });
  } finally {
    orders.stop();
  }
}

/** What is printed beside the tests: measurements, not promises. */
export function tellFigures(
  what: string,
  { books, longestPauseMs }: Weathered,
  ...more: readonly string[]
): void {
  const figures = [
    `${books.storedIds} orders`,
    `longest time without a 202: ${longestPauseMs.toFixed(0)} ms`,
    ...more,
  ];
  console.info(`figures: ${what}: ${figures.join(', ')}`);
}

export function tellFiguresOfBroker(what: string, result: Weathered): void {
  tellFigures(what, result, `without a confirm: ${result.longestConfirmPauseMs.toFixed(0)} ms`);
}

/** Resends after the last order are left out: they come when they are due, not when the broker is back. */
const confirmTimes = `
SELECT extract(epoch FROM confirmed_at)::float8 * 1000 AS at FROM message
WHERE confirmed_at <= (SELECT max(stored_at) FROM message) ORDER BY 1`;

async function longestConfirmGap(databaseUrl: string): Promise<number> {
  const rows = await query(databaseUrl, confirmTimes);
  expect(rows.length).toBeGreaterThan(0);
  return longestGap(rows.map(({ at }) => Number(at)));
}
