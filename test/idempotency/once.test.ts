/** `once` on a real Postgres, with a client that holds a connection and with one that sends whole transactions. */
import { neon, neonConfig } from '@neondatabase/serverless';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import {
  once,
  onceTogether,
  processedMessageTable,
  type MessageMark,
  type OnceOutcome,
} from '../../shared/idempotency/once.ts';
import type { SqlRunner, SqlStatement } from '../../shared/idempotency/sql.ts';
import { useStack } from '../stack/current-stack.ts';

const bridge = createNeonBridge();
let pool: pg.Pool;
let postgresUrl = '';

beforeAll(async () => {
  ({ postgresUrl } = await useStack().createCorner('once'));
  neonConfig.fetchFunction = bridge.fetch;
  pool = new pg.Pool({ connectionString: postgresUrl, max: 20 });
  pool.on('connect', (client) => client.on('error', () => undefined)); // connections are killed on purpose
  pool.on('error', () => undefined);
  await pool.query(processedMessageTable);
  await pool.query('CREATE TABLE effect (message_id text NOT NULL, n integer NOT NULL CHECK (n > 0))');
  await pool.query('CREATE TABLE taken (name text PRIMARY KEY)');
});
afterAll(async () => {
  await pool.end();
  await bridge.close();
});

let mark: MessageMark;
beforeEach(() => {
  mark = { subscription: 'sub', id: `msg_${crypto.randomUUID()}`, fingerprint: 'f1' };
});

async function effects(id = mark.id): Promise<number> {
  const { rows } = await pool.query('SELECT count(*)::int AS n FROM effect WHERE message_id = $1', [id]);
  return (rows as { n: number }[])[0]?.n ?? 0;
}

function effectOf({ id }: MessageMark, n = 1): SqlStatement {
  return { text: 'INSERT INTO effect (message_id, n) VALUES ($1, $2)', params: [id, n] };
}

/** Lends one connection; one that broke is thrown away. */
async function onConnection<T>(work: (sql: SqlRunner, client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isBroken = true;
  try {
    const result = await work((text, params) => client.query(text, [...params]), client);
    isBroken = false;
    return result;
  } finally {
    client.release(isBroken);
  }
}

type RunOnce = (given: MessageMark, statement: SqlStatement) => Promise<OnceOutcome>;

const ways: Record<string, RunOnce> = {
  'a held connection': (given, { text, params }) =>
    onConnection((sql) => once(sql, given, (inside) => inside(text, params))),
  'a whole transaction over HTTP': (given, statement) => {
    const sql = neon(postgresUrl);
    return onceTogether(
      {
        transact: (statements) =>
          sql.transaction(statements.map(({ text, params }) => sql.query(text, [...params]))),
        sql: async (text, params) => ({ rows: await sql.query(text, [...params]) }),
      },
      given,
      [statement],
    );
  },
};

describe.each(Object.entries(ways))('once, with %s', (_way, runOnce) => {
  it('has the effect the first time and calls the second a duplicate', async () => {
    expect(await runOnce(mark, effectOf(mark))).toBe('done');
    expect(await runOnce(mark, effectOf(mark))).toBe('duplicate');
    expect(await effects()).toBe(1);
  });

  it('has one effect for 20 copies at once', async () => {
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => runOnce(mark, effectOf(mark))));
    expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'duplicate')).toHaveLength(19);
    expect(await effects()).toBe(1);
  });

  it('refuses another body under the same id', async () => {
    await runOnce(mark, effectOf(mark));
    expect(await runOnce({ ...mark, fingerprint: 'f2' }, effectOf(mark))).toBe('mismatch');
    expect(await effects()).toBe(1);
  });

  it('keeps subscriptions apart', async () => {
    await runOnce(mark, effectOf(mark));
    expect(await runOnce({ ...mark, subscription: 'other' }, effectOf(mark))).toBe('done');
    expect(await effects()).toBe(2);
  });

  it('leaves no row when the effect fails, so the retry runs', async () => {
    await expect(runOnce(mark, effectOf(mark, 0))).rejects.toThrow(/check constraint/);
    expect(await runOnce(mark, effectOf(mark))).toBe('done');
    expect(await effects()).toBe(1);
  });

  it('does not take a unique key of the handler itself for a duplicate', async () => {
    const take = { text: 'INSERT INTO taken (name) VALUES ($1)', params: ['seat 1'] };
    await pool.query('DELETE FROM taken');
    expect(await runOnce(mark, take)).toBe('done');
    await expect(runOnce({ ...mark, id: 'msg_other' }, take)).rejects.toThrow(/taken_pkey/);
  });
});

describe('once, when the handler crashes', () => {
  it('has no effect when the connection dies before COMMIT, and one after the retry', async () => {
    const crash = onConnection((sql, client) =>
      once(sql, mark, async (inside) => {
        await inside('INSERT INTO effect (message_id, n) VALUES ($1, 1)', [mark.id]);
        const { processID } = client as pg.PoolClient & { processID: number };
        const killed = await pool.query('SELECT pg_terminate_backend($1, 5000) AS killed', [processID]);
        expect(killed.rows).toEqual([{ killed: true }]);
      }),
    );
    await expect(crash).rejects.toMatchObject({ kind: 'database-unavailable' });
    expect(await effects()).toBe(0);
    expect(
      await onConnection((sql) => once(sql, mark, (inside) => inside(effectOf(mark).text, [mark.id, 1]))),
    ).toBe('done');
    expect(await effects()).toBe(1);
  });

  it('does not repeat the effect when the process dies after COMMIT', async () => {
    const sayNothing: SqlRunner = () => Promise.reject(new Error('the process died'));
    const crash = onConnection((sql) =>
      once(
        async (text, params) => {
          const result = await sql(text, params);
          return text === 'COMMIT' ? sayNothing(text, params) : result;
        },
        mark,
        (inside) => inside(effectOf(mark).text, [mark.id, 1]),
      ),
    );
    await expect(crash).rejects.toThrow('the process died');
    expect(await effects()).toBe(1);
    expect(
      await onConnection((sql) => once(sql, mark, (inside) => inside(effectOf(mark).text, [mark.id, 1]))),
    ).toBe('duplicate');
    expect(await effects()).toBe(1);
  });
});

describe('once, when the effect meddles with the transaction', () => {
  it('does not call an effect done whose fault was swallowed', async () => {
    const swallowing = onConnection((sql) =>
      once(sql, mark, async (inside) => {
        await inside('INSERT INTO effect (message_id, n) VALUES ($1, 0)', [mark.id]).catch(() => undefined);
      }),
    );
    await expect(swallowing).rejects.toThrow(/aborted/);
  });

  it('does not call an effect done that rolled back by itself', async () => {
    const meddling = onConnection((sql) => once(sql, mark, (inside) => inside('ROLLBACK', [])));
    await expect(meddling).rejects.toThrow(/leave that to `once`/);
  });
});
