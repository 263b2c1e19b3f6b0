/**
 * The books of a deployment after a disaster: what was accepted, what is stored, what is still to do, and which effects
 * there are. Read from the databases themselves, past Setway.
 */
import pg from 'pg';
import type { Deployment } from '../stack/deployment.ts';
import type { AcceptedOrder } from './orders.ts';

export interface Books {
  /** Distinct ids of orders in the databases of all SETs. After a failover whose first answer was lost, two SETs hold one id. */
  readonly storedIds: number;
  readonly copies: number;
  readonly messageStates: Readonly<Record<string, number>>;
  /** Of the accepted messages only: `inventory DONE`, and so on. */
  readonly deliveryStates: Readonly<Record<string, number>>;
  /** Entries of the agenda that are still there, by kind. */
  readonly agenda: Readonly<Record<string, number>>;
  readonly acceptedAndLost: readonly string[];
  /** Order lines of one message beyond the first. */
  readonly doubledLines: number;
  readonly linesOfNobody: number;
  readonly lostReceipts: number;
  readonly doubledReceipts: number;
  /** Failed attempts, by what went wrong. */
  readonly failures: Readonly<Record<string, number>>;
  /** Skus whose stock is not the sum of what was accepted. */
  readonly wrongStock: readonly string[];
}

/** How often each message had the effect of the consumer group `receipt`. */
export type ReadReceipts = () => Promise<ReadonlyMap<string, number>>;

export interface BooksParts {
  readonly deployment: Deployment;
  readonly accepted: ReadonlyMap<string, AcceptedOrder>;
  readonly receipts: ReadReceipts;
}

export async function readBooks({ deployment, accepted, receipts }: BooksParts): Promise<Books> {
  const ids = new Map([...accepted.values()].map((order) => [order.id, order]));
  const rows = (text: string) => askAll(deployment, text);
  const consumers = (text: string) => query(deployment.consumerDatabaseUrl, text);
  const messages = await rows(`SELECT id::text AS id, state AS name FROM message WHERE topic = 'orders'`);
  const deliveries = await rows(
    `SELECT message_id::text AS id, subscription || ' ' || state AS name FROM delivery`,
  );
  const agenda = await rows('SELECT kind AS name FROM agenda');
  const failures = await rows(
    `SELECT subscription || ' ' || left(error, 120) AS name FROM attempt WHERE outcome <> 'DONE'`,
  );
  const lines = new Map(
    (await consumers('SELECT message_id AS id, count(*)::int AS n FROM demo_order_line GROUP BY 1')).map(
      (row): [string, number] => [String(row['id']), Number(row['n'])],
    ),
  );
  const stock = await consumers('SELECT sku, quantity FROM demo_stock');
  const counted = await receipts();
  const wanted = stockOf(accepted);
  return {
    storedIds: new Set(messages.map((row) => row['id'])).size,
    copies: messages.length - new Set(messages.map((row) => row['id'])).size,
    messageStates: tally(messages),
    deliveryStates: tally(deliveries),
    agenda: tally(agenda),
    failures: tally(failures),
    acceptedAndLost: [...ids.keys()].filter((id) => !lines.has(id)),
    doubledLines: [...lines.values()].filter((amount) => amount > 1).length,
    linesOfNobody: [...lines.keys()].filter((id) => !ids.has(id)).length,
    lostReceipts: [...ids.keys()].filter((id) => !counted.has(id)).length,
    doubledReceipts: [...counted.values()].filter((amount) => amount > 1).length,
    wrongStock: stock
      .filter((row) => wanted.get(String(row['sku'])) !== -Number(row['quantity']))
      .map((row) => `${String(row['sku'])}: ${String(row['quantity'])}`),
  };
}

/** Deliveries of this deployment that are recorded as done, in all SETs. */
export async function countDone(deployment: Deployment): Promise<number> {
  const rows = await askAll(deployment, `SELECT count(*)::int AS n FROM delivery WHERE state = 'DONE'`);
  return rows.reduce((sum, row) => sum + Number(row['n']), 0);
}

/** Of each SET in one cheap row: what keeps it from being settled. */
const openWork = `
SELECT (SELECT count(*)::int FROM agenda) AS agenda,
  (SELECT count(*)::int FROM message WHERE state <> 'CONFIRMED' AND topic = 'orders') AS unconfirmed,
  (SELECT count(*)::int * 2 FROM message WHERE topic = 'orders')
    - (SELECT count(*)::int FROM delivery WHERE state = 'DONE' AND subscription IN ('inventory', 'receipt')) AS undelivered`;

/**
 * Waits until every stored message is confirmed and delivered to both consumer groups, and the agenda is empty.
 * @throws when the deadline passes, with the books as they are then
 */
export async function settledBooks(parts: BooksParts, deadlineMs: number): Promise<Books> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const open = await askAll(parts.deployment, openWork);
    if (open.every((row) => Object.values(row).every((amount) => amount === 0))) return readBooks(parts);
    if (performance.now() > endMs) {
      const { acceptedAndLost, ...books } = await readBooks(parts);
      const told = JSON.stringify({ open, acceptedAndLost: acceptedAndLost.slice(0, 5), ...books });
      throw new Error(`Not settled in time: ${told}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** Rows of every SET's database, one after the other. */
async function askAll(
  { databaseUrls }: Deployment,
  text: string,
): Promise<readonly Record<string, unknown>[]> {
  const answers = await Promise.all(Object.values(databaseUrls).map((url) => query(url, text)));
  return answers.flat();
}

function stockOf(accepted: ReadonlyMap<string, AcceptedOrder>): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { sku, quantity } of accepted.values()) sums.set(sku, (sums.get(sku) ?? 0) + quantity);
  return sums;
}

function tally(rows: readonly Record<string, unknown>[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { name } of rows) counts[String(name)] = (counts[String(name)] ?? 0) + 1;
  return counts;
}

async function query(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}
