/**
 * The recipe of the README for handlers that move a row from state to state: a state flag with a version (an optimistic
 * lock). Which copy moves the row is decided by the database; whoever finds it moved already is a duplicate.
 */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { webhookHandler } from '../../shared/consumer/consumer.ts';
import { signedRequest } from '../../shared/consumer/testing.ts';
import { secret } from '../consumer/signed-request.ts';
import { useStack } from '../stack/current-stack.ts';

let pool: pg.Pool;
beforeAll(async () => {
  const corner = await useStack().createCorner('versioned');
  pool = new pg.Pool({ connectionString: corner.postgresUrl, max: 8 });
  await pool.query(
    'CREATE TABLE purchase (id text PRIMARY KEY, state text NOT NULL, version integer NOT NULL, paid integer NOT NULL)',
  );
});
afterAll(() => pool.end());
beforeEach(() => pool.query(`DELETE FROM purchase`));

interface Payment {
  readonly orderId: string;
  /** The version the sender saw. */
  readonly version: number;
  readonly amount: number;
}

/** What the README shows. */
const move = `UPDATE purchase SET state = 'paid', version = version + 1, paid = paid + $3
  WHERE id = $1 AND state = 'new' AND version = $2`;

const POST = webhookHandler(
  { secrets: [secret], subscription: 'payments', guard: 'handler' },
  async (message) => {
    const { orderId, version, amount } = message.json() as Payment;
    const { rowCount } = await pool.query(move, [orderId, version, amount]);
    return rowCount === 1 ? 'done' : 'duplicate';
  },
);

const paid = (more: Partial<Payment> = {}) =>
  signedRequest({ secret, id: 'msg_1', body: { orderId: 'o-1', version: 3, amount: 10, ...more } });
const purchase = async () =>
  (await pool.query('SELECT state, version, paid FROM purchase')).rows[0] as unknown;

it('has its effect once, however many copies come at once', async () => {
  await pool.query(`INSERT INTO purchase VALUES ('o-1', 'new', 3, 0)`);
  const answers = await Promise.all(Array.from({ length: 20 }, () => POST(paid())));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(answers.filter(({ headers }) => headers.get('setway-duplicate') === null)).toHaveLength(1);
  expect(await purchase()).toEqual({ state: 'paid', version: 4, paid: 10 });
});

it('changes nothing that somebody else has moved meanwhile', async () => {
  await pool.query(`INSERT INTO purchase VALUES ('o-1', 'cancelled', 4, 0)`);
  expect((await POST(paid())).headers.get('setway-duplicate')).toBe('1');
  await pool.query(`UPDATE purchase SET state = 'new', version = 5`);
  expect((await POST(paid())).headers.get('setway-duplicate')).toBe('1');
  expect(await purchase()).toEqual({ state: 'new', version: 5, paid: 0 });
});
