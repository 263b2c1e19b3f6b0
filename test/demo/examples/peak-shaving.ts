/**
 * Peak shaving (秒杀): a sale begins, and everybody orders at once. The requests are taken as fast as they come; the stock
 * is touched by a few at a time, as fast as its database likes it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { once, processedMessageTable } from '../../../shared/idempotency/once.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';
import { runStatements } from './statements.ts';

const stock = 20;
const buyers = 200;
/** Orders the stock is asked for at once. */
const concurrency = 3;
const deadlineMs = 30_000;

const tables = `
CREATE TABLE sale (buyer integer PRIMARY KEY, got boolean NOT NULL);
CREATE TABLE stock (sku text PRIMARY KEY, left_over integer NOT NULL CHECK (left_over >= 0));
INSERT INTO stock VALUES ('kettle', ${stock});
${processedMessageTable}`;

export const peakShaving: Example = {
  name: 'peak-shaving',
  shows: 'a rush of orders is taken at once and worked off a few at a time',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'rush', owner: 'demo' }],
    subscriptions: [
      {
        name: 'stock',
        owner: 'demo',
        topic: 'rush',
        endpoint: { url: `${hooksUrl}/stock` },
        concurrency,
        secrets: [secret],
        retryDelaysMs: [500, 500, 500],
      },
    ],
  }),
  async play(stage) {
    const { say, check, sql, client } = stage;
    await runStatements(sql, tables);
    const load = { now: 0, most: 0 };
    stage.hook('stock', seller(stage, load));
    const buy = (buyer: number) =>
      client.publish({ topic: 'rush', body: { buyer } }, { 'idempotency-key': `sale-${buyer}` });
    const answers = await Promise.all(Array.from({ length: buyers }, (_, buyer) => buy(buyer)));
    say(`${buyers} buyers ask for ${stock} kettles at once`);
    check(
      'nobody is turned away at the door',
      answers.every(({ status }) => status === 202),
    );
    const decided = async () => (await sql('SELECT got FROM sale', [])).rows;
    await until(deadlineMs, async () => (await decided()).length === buyers);
    const rows = await decided();
    check(`exactly ${stock} got one`, rows.filter((row) => row['got'] === true).length === stock);
    check(`the stock was asked by at most ${concurrency} at once`, load.most <= concurrency);
  },
};

/** One transaction: take one if there is one, and remember the message. */
function seller(
  { business, secret }: Stage,
  load: { now: number; most: number },
): (request: Request) => Promise<Response> {
  return webhookHandler({ secrets: [secret], subscription: 'stock', guard: 'handler' }, async (message) => {
    const { buyer } = message.json() as { readonly buyer: number };
    load.most = Math.max(load.most, ++load.now);
    const client = await business.connect();
    try {
      await sleep(5); // a database that has better things to do
      return await once(
        (text, params) => client.query(text, [...params]),
        message,
        (sql) =>
          sql(
            `WITH taken AS (UPDATE stock SET left_over = left_over - 1 WHERE sku = 'kettle' AND left_over > 0 RETURNING 1)
             INSERT INTO sale (buyer, got) SELECT $1, EXISTS (SELECT FROM taken)`,
            [buyer],
          ),
      );
    } finally {
      client.release();
      load.now--;
    }
  });
}
