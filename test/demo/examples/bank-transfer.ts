/**
 * Money from one bank to another: the credit is a half message, decided by the very transaction that debits. Whoever
 * dies in between is asked (check-back), and the answer is a row of its own database.
 */
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { once, processedMessageTable } from '../../../shared/idempotency/once.ts';
import type { SqlRunner } from '../../../shared/idempotency/sql.ts';
import { asProblem } from '../../../shared/problem.ts';
import { barrier, checkHandler, transactionTable } from '../../../shared/transaction/barrier.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';
import { runStatements } from './statements.ts';

const deadlineMs = 30_000;
const amount = 100;

const tables = `
CREATE TABLE north_account (id text PRIMARY KEY, balance integer NOT NULL CHECK (balance >= 0));
CREATE TABLE south_account (id text PRIMARY KEY, balance integer NOT NULL, credits integer NOT NULL DEFAULT 0);
INSERT INTO north_account VALUES ('ann', 1000);
INSERT INTO south_account VALUES ('smooth', 0), ('answer-lost', 0), ('never-done', 0);
${transactionTable}
${processedMessageTable}`;

interface Prepared {
  readonly id: string;
}

export const bankTransfer: Example = {
  name: 'bank-transfer',
  shows: 'debit here and credit there, both or none, with check-back',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'transfers', owner: 'demo', secrets: [secret] }],
    subscriptions: [
      {
        name: 'south-bank',
        owner: 'demo',
        topic: 'transfers',
        endpoint: { url: `${hooksUrl}/credit` },
        secrets: [secret],
        retryDelaysMs: [500, 500, 500],
      },
    ],
  }),
  async play(stage) {
    const { say, check, sql, secret } = stage;
    await runStatements(sql, tables);
    stage.hook('credit', credit(stage));
    const answer = checkHandler({ secrets: [secret], sql });
    let questions = 0;
    stage.hook('check', (request) => {
      questions++;
      return answer(request);
    });

    say(`${amount} to "smooth": prepare, debit in a transaction with the barrier, commit`);
    const smooth = await prepare(stage, 'smooth');
    await debit(stage, smooth);
    await stage.client.post(`/v1/transactions/${smooth.id}/commit`, '');

    say(`${amount} to "answer-lost": the bank dies after its own COMMIT, before it can say so`);
    const lost = await prepare(stage, 'answer-lost');
    await debit(stage, lost);

    say(`${amount} to "never-done": the bank dies before its COMMIT`);
    const never = await prepare(stage, 'never-done');

    say('both are asked at the check URL, and answer from their database');
    await until(deadlineMs, async () => (await stateOf(stage, lost)) === 'committed');
    await until(deadlineMs, async () => (await stateOf(stage, never)) === 'rolled_back');

    say('the bank wakes up and wants to debit for "never-done" after all');
    const late = await debit(stage, never).then(
      () => 'debited',
      (error: unknown) => asProblem(error).kind,
    );
    check('the late debit is aborted by the barrier', late === 'conflict');

    await until(
      deadlineMs,
      async () => (await southAccounts(stage)).filter(({ credits }) => credits > 0).length === 2,
    );
    const north = Number((await sql('SELECT balance FROM north_account', [])).rows[0]?.['balance']);
    const south = await southAccounts(stage);
    const received = (id: string) => south.find((account) => account.id === id)?.balance;
    check(
      `"smooth" and "answer-lost" have their ${amount}`,
      received('smooth') === amount && received('answer-lost') === amount,
    );
    check(
      '"never-done" has nothing, and nothing was taken for it',
      received('never-done') === 0 && north === 1000 - 2 * amount,
    );
    check(
      'no credit came twice',
      south.every(({ credits }) => credits <= 1),
    );
    check('no money was made or lost', north + south.reduce((sum, { balance }) => sum + balance, 0) === 1000);
    check('only the undecided were asked', questions >= 2 && (await stateOf(stage, smooth)) === 'committed');
  },
};

/** Nobody gets the credit before the commit. */
async function prepare({ client, hooksUrl }: Stage, to: string): Promise<Prepared> {
  const request = {
    messages: [{ topic: 'transfers', key: to, body: { to, amount } }],
    checkUrl: `${hooksUrl}/check`,
    firstCheckAfter: 1,
  };
  const answer = await client.post<Prepared>('/v1/transactions', JSON.stringify(request), {
    'content-type': 'application/json',
    'idempotency-key': `transfer-${to}`,
  });
  if (answer.status !== 202) throw new Error(`Not accepted: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** The business of the sending bank, with its decision. @throws Problem `conflict` when a check was answered before */
async function debit({ business }: Stage, { id }: Prepared): Promise<void> {
  const client = await business.connect();
  try {
    await client.query('BEGIN');
    await client.query('UPDATE north_account SET balance = balance - $1 WHERE id = $2', [amount, 'ann']);
    await barrier((text, params) => client.query(text, [...params])).commit(id);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

/** The receiving bank: credit and mark are one transaction. */
function credit({ business, secret }: Stage): (request: Request) => Promise<Response> {
  return webhookHandler(
    { secrets: [secret], subscription: 'south-bank', guard: 'handler' },
    async (message) => {
      const { to, amount: credited } = message.json() as { readonly to: string; readonly amount: number };
      const client = await business.connect();
      const text = 'UPDATE south_account SET balance = balance + $1, credits = credits + 1 WHERE id = $2';
      try {
        const run: SqlRunner = (statement, params) => client.query(statement, [...params]);
        return await once(run, message, (sql) => sql(text, [credited, to]));
      } finally {
        client.release();
      }
    },
  );
}

async function stateOf({ client }: Stage, { id }: Prepared): Promise<string> {
  return (await client.get<{ readonly state: string }>(`/v1/transactions/${id}`)).body.state;
}

interface Account {
  readonly id: string;
  readonly balance: number;
  readonly credits: number;
}

async function southAccounts({ business }: Stage): Promise<readonly Account[]> {
  return (await business.query<Account>('SELECT * FROM south_account')).rows;
}
