/**
 * A consumer webhook, the database way: stock goes down exactly once per order, because the unique row, the stock and
 * the order line are one transaction. It needs no guard beside that: a crash before COMMIT leaves nothing, after it
 * everything.
 *
 * What to check: for every sku, `demo_stock.quantity` is the start minus the sum of its order lines, and no `message_id` has
 * two lines.
 */
import { webhookHandler, type WebhookMessage } from '../../shared/consumer/consumer.ts';
import { onceTogether, processedMessageTable } from '../../shared/idempotency/once.ts';
import type { SqlRunner, SqlStatement, SqlTransaction } from '../../shared/idempotency/sql.ts';
import { orderOf, type Order } from './order.ts';

export const inventoryTables = `
${processedMessageTable}
CREATE TABLE IF NOT EXISTS demo_stock (sku text PRIMARY KEY, quantity integer NOT NULL);
CREATE TABLE IF NOT EXISTS demo_order_line (
  order_id text NOT NULL, message_id text NOT NULL, quantity integer NOT NULL
);
`;

export interface InventoryParts {
  readonly secrets: readonly string[];
  readonly transact: SqlTransaction;
  readonly sql: SqlRunner;
}

/** @example const inventory = inventoryWebhook({ secrets, transact, sql }); await inventory(request); */
export function inventoryWebhook(parts: InventoryParts): (request: Request) => Promise<Response> {
  return webhookHandler(
    { secrets: parts.secrets, subscription: 'inventory', guard: 'handler' },
    async (message) => onceTogether(parts, message, effectsOf(message, orderOf(message))),
  );
}

/** A sku that is new starts at zero: an oversold one is seen as negative, not lost. */
function effectsOf({ id }: WebhookMessage, { orderId, sku, quantity }: Order): readonly SqlStatement[] {
  const takeStock = `
    INSERT INTO demo_stock AS stock (sku, quantity) VALUES ($1, -($2::integer))
    ON CONFLICT (sku) DO UPDATE SET quantity = stock.quantity + excluded.quantity`;
  const addLine = 'INSERT INTO demo_order_line (order_id, message_id, quantity) VALUES ($1, $2, $3)';
  return [
    { text: takeStock, params: [sku, quantity] },
    { text: addLine, params: [orderId, id, quantity] },
  ];
}
