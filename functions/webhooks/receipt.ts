/**
 * A consumer webhook, the guard's way: for effects outside a database, such as a mail. The row stands for the mail: it
 * counts how often it was "sent" and nothing here keeps it from being counted twice but the guard. So
 * `SELECT count(*) FROM demo_receipt WHERE count <> 1` must be 0.
 *
 * The races a guard leaves: a crash after the effect and before the done marker, and an effect whose outcome nobody
 * heard (a statement that ran, and whose answer came too late). The retry then counts again; an effect that must not do
 * so goes the way of `inventory.ts`.
 */
import { webhookHandler } from '../../shared/consumer/consumer.ts';
import type { Guard } from '../../shared/idempotency/guard.ts';
import type { SqlRunner } from '../../shared/idempotency/sql.ts';
import { orderOf } from './order.ts';

export const receiptTables = `
CREATE TABLE IF NOT EXISTS demo_receipt (message_id text PRIMARY KEY, count integer NOT NULL);
`;

export interface ReceiptParts {
  readonly secrets: readonly string[];
  readonly guard: Guard;
  readonly sql: SqlRunner;
  readonly inBackground?: (work: Promise<unknown>) => void;
}

/** @example const receipt = receiptWebhook({ secrets, guard, sql, inBackground: waitUntil }); await receipt(request); */
export function receiptWebhook({ sql, ...parts }: ReceiptParts): (request: Request) => Promise<Response> {
  return webhookHandler({ ...parts, subscription: 'receipt' }, async (message) => {
    orderOf(message);
    await sql(sendReceipt, [message.id]);
  });
}

/** Counts a repetition instead of refusing it, so that one would show. */
const sendReceipt = `
INSERT INTO demo_receipt AS receipt (message_id, count) VALUES ($1, 1)
ON CONFLICT (message_id) DO UPDATE SET count = receipt.count + 1`;
