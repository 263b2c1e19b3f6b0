/**
 * A change in the database refreshes a page and the search index (数据同步): the change and its message are one commit, by
 * the outbox, and each consumer group brings its own copy up to date. One lane per product keeps the changes in order.
 */
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { createRedisGuard } from '../../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../../shared/idempotency/upstash.ts';
import { install, outbox } from '../../../shared/outbox/outbox.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';
import { runStatements } from './statements.ts';

const deadlineMs = 30_000;
const prices = [10, 12, 9] as const;
const groups = ['page', 'search'] as const;

export const pageRefresh: Example = {
  name: 'page-refresh',
  shows: 'a database change refreshes a page and a search index, in order',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'products', owner: 'demo' }],
    subscriptions: groups.map((name) => ({
      name,
      owner: 'demo',
      topic: 'products',
      endpoint: { url: `${hooksUrl}/${name}` },
      secrets: [secret],
    })),
  }),
  async play(stage) {
    const { say, check, sql, edge } = stage;
    await install(sql);
    await runStatements(
      sql,
      "CREATE TABLE product (sku text PRIMARY KEY, price integer NOT NULL); INSERT INTO product VALUES ('tea', 8)",
    );
    const shown = { page: [] as number[], search: [] as number[] };
    for (const name of groups) stage.hook(name, refresher(stage, name, shown[name]));
    for (const price of prices) {
      await change(stage, price);
      await outbox(sql, { publish: edge }).flush();
      say(`tea costs ${price} now`);
    }
    const last = prices.at(-1);
    await until(deadlineMs, async () => groups.every((name) => shown[name].at(-1) === last));
    for (const name of groups)
      check(`${name} followed every change in order`, shown[name].join() === prices.join());
  },
};

/** The price and the message about it: both or neither. */
async function change({ business }: Stage, price: number): Promise<void> {
  const client = await business.connect();
  const inside = outbox((text, params) => client.query(text, [...params]));
  try {
    await client.query('BEGIN');
    await client.query("UPDATE product SET price = $1 WHERE sku = 'tea'", [price]);
    await inside.add({ topic: 'products', lane: 'tea', body: { sku: 'tea', price } });
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

function refresher(
  { secret, redis }: Stage,
  subscription: string,
  shown: number[],
): (request: Request) => Promise<Response> {
  const guard = createRedisGuard(connectRedis(redis));
  return webhookHandler({ secrets: [secret], subscription, guard }, async (message) => {
    shown.push((message.json() as { readonly price: number }).price);
  });
}
