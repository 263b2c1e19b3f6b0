/**
 * Whether every accepted order had its effects, and had them once: the ledger of what was published against the
 * consumers' own tables. Nothing Setway says about itself is asked.
 */
import pg from 'pg';
import { skusOf, stockPerSku } from './orders.ts';
import type { Ledger } from './publish-orders.ts';

/** Rows of the consumers' tables that belong to one run. */
export interface Effects {
  readonly orderLines: readonly { readonly orderId: string }[];
  readonly receipts: readonly { readonly messageId: string; readonly count: number }[];
  readonly stock: readonly { readonly sku: string; readonly quantity: number }[];
}

export interface Audit {
  /** Accepted orders without an order line, and without a receipt. */
  readonly lost: { readonly orderLines: number; readonly receipts: number };
  /** Effects beyond the first of an order. */
  readonly doubled: { readonly orderLines: number; readonly receipts: number };
  /** SKUs whose stock is not what the orders left. */
  readonly wrongStock: number;
}

/** Fills the shelves for a run. */
export async function stockUp(consumerDatabaseUrl: string, run: string): Promise<void> {
  const fill = 'INSERT INTO demo_stock (sku, quantity) SELECT unnest($1::text[]), $2';
  await withClient(consumerDatabaseUrl, (client) => client.query(fill, [skusOf(run), stockPerSku]));
}

export function readEffects(consumerDatabaseUrl: string, run: string, ledger: Ledger): Promise<Effects> {
  return withClient(consumerDatabaseUrl, async (client) => {
    const lines = await client.query<{ order_id: string }>(
      'SELECT order_id FROM demo_order_line WHERE starts_with(order_id, $1)',
      [`${run}-`],
    );
    const receipts = await client.query<{ message_id: string; count: number }>(
      'SELECT message_id, count FROM demo_receipt WHERE message_id = ANY($1)',
      [ledger.accepted.map(({ id }) => id)],
    );
    const stock = await client.query<{ sku: string; quantity: number }>(
      'SELECT sku, quantity FROM demo_stock WHERE sku = ANY($1)',
      [skusOf(run)],
    );
    return {
      orderLines: lines.rows.map(({ order_id: orderId }) => ({ orderId })),
      receipts: receipts.rows.map(({ message_id: messageId, count }) => ({ messageId, count })),
      stock: stock.rows,
    };
  });
}

/**
 * An order that was refused in the end may have been stored all the same (its answer was lost): it may have an effect,
 * but not two.
 *
 * @example audit('demo-1', ledger, effects).lost.orderLines // 0
 */
export function audit(run: string, { accepted, refused }: Ledger, effects: Effects): Audit {
  const orders = new Map([...accepted, ...refused].map(({ order }) => [order.orderId, order]));
  const withLine = new Set(effects.orderLines.map(({ orderId }) => orderId));
  const withReceipt = new Set(effects.receipts.map(({ messageId }) => messageId));
  const left = new Map(skusOf(run).map((sku) => [sku, stockPerSku]));
  for (const orderId of withLine) {
    const { sku = '', quantity = 0 } = orders.get(orderId) ?? {};
    left.set(sku, (left.get(sku) ?? 0) - quantity);
  }
  const stock = new Map(effects.stock.map(({ sku, quantity }) => [sku, quantity]));
  return {
    lost: {
      orderLines: accepted.filter(({ order }) => !withLine.has(order.orderId)).length,
      receipts: accepted.filter(({ id }) => !withReceipt.has(id)).length,
    },
    doubled: {
      orderLines: effects.orderLines.length - withLine.size,
      receipts: effects.receipts.reduce((sum, { count }) => sum + count - 1, 0),
    },
    wrongStock: [...left].filter(([sku, quantity]) => stock.get(sku) !== quantity).length,
  };
}

export function isClean({ lost, doubled, wrongStock }: Audit): boolean {
  return [lost.orderLines, lost.receipts, doubled.orderLines, doubled.receipts, wrongStock].every(
    (n) => n === 0,
  );
}

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
