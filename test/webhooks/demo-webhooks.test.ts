/** The demo's two consumers, each the way it guards itself. */
import { neon, neonConfig } from '@neondatabase/serverless';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { inventoryTables, inventoryWebhook } from '../../functions/webhooks/inventory.ts';
import { receiptTables, receiptWebhook } from '../../functions/webhooks/receipt.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import type { SqlTransaction } from '../../shared/idempotency/sql.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { newMessageId, secret, signedRequest } from '../consumer/signed-request.ts';
import { useStack } from '../stack/current-stack.ts';

const stack = useStack();
const bridge = createNeonBridge();
let pool: pg.Pool;
let transact: SqlTransaction;
let inventory: (request: Request) => Promise<Response>;
let receipt: (request: Request) => Promise<Response>;

beforeAll(async () => {
  const { postgresUrl } = await stack.createCorner('demo');
  pool = new pg.Pool({ connectionString: postgresUrl, max: 8 });
  await pool.query(inventoryTables + receiptTables);
  neonConfig.fetchFunction = bridge.fetch;
  const neonSql = neon(postgresUrl);
  const sql = async (text: string, params: readonly unknown[]) => ({
    rows: await neonSql.query(text, [...params]),
  });
  transact = (statements) =>
    neonSql.transaction(statements.map(({ text, params }) => neonSql.query(text, [...params])));
  inventory = inventoryWebhook({ secrets: [secret], transact: (all) => transact(all), sql });
  receipt = receiptWebhook({ secrets: [secret], guard: createRedisGuard(connectRedis(stack.upstash)), sql });
});
afterAll(async () => {
  await pool.end();
  await bridge.close();
});

function order(sku: string, quantity: number, id = newMessageId()) {
  const body = JSON.stringify({ orderId: `o-${id}`, sku, quantity, city: 'Hangzhou' });
  return { id, request: () => signedRequest({ id, body }) };
}

async function stockOf(sku: string): Promise<unknown> {
  return (await pool.query('SELECT quantity FROM demo_stock WHERE sku = $1', [sku])).rows;
}

describe('inventory', () => {
  it('takes an order from the stock once, however often it comes', async () => {
    await pool.query(`INSERT INTO demo_stock VALUES ('tea', 100)`);
    const { id, request } = order('tea', 3);
    const answers = await Promise.all(Array.from({ length: 10 }, () => inventory(request())));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(answers.filter(({ headers }) => headers.get('setway-duplicate') === '1')).toHaveLength(9);
    expect(await stockOf('tea')).toEqual([{ quantity: 97 }]);
    const lines = await pool.query('SELECT quantity FROM demo_order_line WHERE message_id = $1', [id]);
    expect(lines.rows).toEqual([{ quantity: 3 }]);
  });

  it('does not repeat the effect after a crash behind it', async () => {
    const whole = transact;
    transact = async (statements) => {
      await whole(statements);
      throw new Error('the process died before it could answer');
    };
    const { request } = order('salt', 2);
    expect((await inventory(request())).status).toBe(500);
    transact = whole;
    expect(await stockOf('salt')).toEqual([{ quantity: -2 }]);
    expect((await inventory(request())).headers.get('setway-duplicate')).toBe('1');
    expect(await stockOf('salt')).toEqual([{ quantity: -2 }]);
  });

  it('refuses another order under the same id', async () => {
    const { id, request } = order('rice', 1);
    await inventory(request());
    expect((await inventory(order('rice', 5, id).request())).status).toBe(422);
    expect(await stockOf('rice')).toEqual([{ quantity: -1 }]);
  });

  it.each(['{', '[]', '{"orderId":"o","sku":"x","quantity":0,"city":""}'])(
    'makes a dead letter of what is not an order: %s',
    async (body) => {
      const response = await inventory(signedRequest({ id: newMessageId(), body }));
      expect([response.status, response.headers.get('setway-non-retryable')]).toEqual([422, '1']);
    },
  );
});

describe('receipt', () => {
  it('counts an order once, however often it comes', async () => {
    const { id, request } = order('tea', 1);
    const answers = await Promise.all(Array.from({ length: 10 }, () => receipt(request())));
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
    expect((await receipt(request())).headers.get('setway-duplicate')).toBe('1');
    const { rows } = await pool.query('SELECT count FROM demo_receipt WHERE message_id = $1', [id]);
    expect(rows).toEqual([{ count: 1 }]);
  });
});
