/**
 * Orders that nobody pays are closed after a while: with each order goes one delayed message. No table is swept, and the
 * handler changes a row only in the state it expects, so a payment and the closing have one winner.
 */
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { once, processedMessageTable } from '../../../shared/idempotency/once.ts';
import type { Published } from '../../stack/client.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';
import { runStatements } from './statements.ts';

// Long enough for a busy machine to place four orders and to pay two of them.
const paySeconds = 4;
const deadlineMs = 30_000;

const tables = `
CREATE TABLE purchase (
  id text PRIMARY KEY,
  state text NOT NULL DEFAULT 'open',
  placed_at timestamptz NOT NULL DEFAULT now(),
  closed_at timestamptz,
  closings integer NOT NULL DEFAULT 0
);
${processedMessageTable}`;

export const orderAutoClose: Example = {
  name: 'order-auto-close',
  shows: 'orders that nobody pays are closed after a delay',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'orders', owner: 'demo' }],
    subscriptions: [
      {
        name: 'closer',
        owner: 'demo',
        topic: 'orders',
        endpoint: { url: `${hooksUrl}/closer` },
        secrets: [secret],
        retryDelaysMs: [500, 500, 500],
      },
    ],
  }),
  async play(stage) {
    const { say, check, sql } = stage;
    await runStatements(sql, tables);
    stage.hook('closer', closer(stage));

    say(`four orders are placed, each with a message that falls due after ${paySeconds} s`);
    const closings = new Map<string, Published>();
    for (const id of ['paid', 'cancelled', 'late', 'forgotten']) closings.set(id, await place(stage, id));

    say('"paid" is paid; its message comes all the same and finds nothing to close');
    await pay(stage, 'paid');
    say('"cancelled" is paid too, and its message is cancelled');
    await pay(stage, 'cancelled');
    const { status } = await stage.client.send(`/v1/messages/${closings.get('cancelled')?.id}`, {
      method: 'DELETE',
    });
    check('the scheduled message could be cancelled', status === 200);

    say('nobody pays the others');
    await until(
      deadlineMs,
      async () => (await states(stage)).filter(({ state }) => state === 'closed').length === 2,
    );
    const paid = await pay(stage, 'late');
    say(`a payment of "late" comes after the closing and is ${paid ? 'taken' : 'refused'}`);
    const done = closings.get('paid')?.id ?? '';
    await stage.client.message(done, ({ deliveries }) => deliveries.some(({ state }) => state === 'DONE'));

    const rows = await states(stage);
    const stateOf = (id: string) => rows.find((row) => row.id === id)?.state;
    check('the paid orders stay paid', stateOf('paid') === 'paid' && stateOf('cancelled') === 'paid');
    check(
      'the others are closed, once each',
      stateOf('late') === 'closed' && stateOf('forgotten') === 'closed',
    );
    check(
      'nothing was closed twice, or that was paid',
      rows.every((row) => row.closings === (row.state === 'closed' ? 1 : 0)),
    );
    check(
      `nothing was closed before its ${paySeconds} s`,
      rows.every(({ seconds }) => seconds === null || seconds >= paySeconds),
    );
  },
};

/** The order and its closing message; a producer with both in one transaction puts the message into its outbox. */
async function place({ sql, client }: Stage, id: string): Promise<Published> {
  await sql('INSERT INTO purchase (id) VALUES ($1)', [id]);
  const message = { topic: 'orders', tag: 'close', key: id, deliverAfter: paySeconds, body: { order: id } };
  const { status, body } = await client.publish(message, { 'idempotency-key': `close-${id}` });
  if (status !== 202) throw new Error(`Not accepted: ${JSON.stringify(body)}`);
  return body;
}

async function pay({ sql }: Stage, id: string): Promise<boolean> {
  const { rows } = await sql(
    "UPDATE purchase SET state = 'paid' WHERE id = $1 AND state = 'open' RETURNING id",
    [id],
  );
  return rows.length > 0;
}

/** Closes an order that is still open, in the transaction that remembers the message. */
function closer({ business, secret }: Stage): (request: Request) => Promise<Response> {
  return webhookHandler({ secrets: [secret], subscription: 'closer', guard: 'handler' }, async (message) => {
    const { order } = message.json() as { readonly order: string };
    const client = await business.connect();
    try {
      return await once(
        (text, params) => client.query(text, [...params]),
        message,
        (sql) =>
          sql(
            "UPDATE purchase SET state = 'closed', closed_at = now(), closings = closings + 1 WHERE id = $1 AND state = 'open'",
            [order],
          ),
      );
    } finally {
      client.release();
    }
  });
}

interface State {
  readonly id: string;
  readonly state: string;
  readonly closings: number;
  readonly seconds: number | null;
}

async function states({ business }: Stage): Promise<readonly State[]> {
  const seconds = 'extract(epoch FROM closed_at - placed_at)::float8 AS seconds';
  return (await business.query<State>(`SELECT id, state, closings, ${seconds} FROM purchase ORDER BY id`))
    .rows;
}
