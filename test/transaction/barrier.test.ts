/** The barrier on a real Postgres: whatever a check is told, the business transaction cannot do otherwise. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SqlRunner } from '../../shared/idempotency/sql.ts';
import { mintMessageId, transactionOf } from '../../shared/identifier.ts';
import {
  answerCheck,
  barrier,
  checkHandler,
  commitStatement,
  decidedBefore,
  transactionTable,
} from '../../shared/transaction/barrier.ts';
import { createWebhookSecret, signWebhook } from '../../shared/webhook/signature.ts';
import { useStack } from '../stack/current-stack.ts';

let pool: pg.Pool;
let sql: SqlRunner;

beforeAll(async () => {
  const { postgresUrl } = await useStack().createCorner('barrier');
  pool = new pg.Pool({ connectionString: postgresUrl, max: 30 });
  sql = (text, params) => pool.query(text, [...params]);
  await pool.query(transactionTable);
  await pool.query('CREATE TABLE transfer (id text NOT NULL)');
});
afterAll(() => pool.end());

const newId = (): string => transactionOf(mintMessageId({ setNumber: 1, shard: 0 }, Date.now()));

/** The business: a transfer and the barrier in one transaction. `meanwhile` runs before its COMMIT. */
async function transfer(
  id: string,
  meanwhile: () => Promise<unknown> = async () => undefined,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('INSERT INTO transfer (id) VALUES ($1)', [id]);
    await barrier((text, params) => client.query(text, [...params])).commit(id);
    await meanwhile();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

const transfers = async (id: string): Promise<number> =>
  (await pool.query('SELECT FROM transfer WHERE id = $1', [id])).rowCount ?? 0;

describe('the barrier', () => {
  it('answers committed after the business, rolled back without it, and the same ever after', async () => {
    const [done, undone] = [newId(), newId()];
    await transfer(done);
    expect(await answerCheck(sql, done)).toBe('committed');
    expect(await answerCheck(sql, undone)).toBe('rolled_back');
    expect(await answerCheck(sql, undone)).toBe('rolled_back');
    expect(await answerCheck(sql, done)).toBe('committed');
  });

  it('aborts a business that comes after a rollback was told', async () => {
    const id = newId();
    expect(await answerCheck(sql, id)).toBe('rolled_back');
    await expect(transfer(id)).rejects.toMatchObject({ kind: 'conflict' });
    expect(await transfers(id)).toBe(0);
  });

  it('aborts it even when the error is swallowed', async () => {
    const id = newId();
    await answerCheck(sql, id);
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO transfer (id) VALUES ($1)', [id]);
    const { text, params } = commitStatement(id);
    await client.query(text, [...params]).catch(() => undefined);
    await client.query('COMMIT');
    client.release();
    expect(await transfers(id)).toBe(0);
  });

  it('lets the business of one transaction happen once', async () => {
    const id = newId();
    await transfer(id);
    const error: unknown = await transfer(id).catch((failure: unknown) => failure);
    expect(decidedBefore(error)).toBe('committed');
    expect(await transfers(id)).toBe(1);
    expect(decidedBefore(new Error('another one'))).toBeUndefined();
  });

  it('waits for a business transaction that is open, and says unknown when that takes too long', async () => {
    const id = newId();
    let waiting: Promise<string> | undefined;
    await transfer(id, async () => {
      expect(await answerCheck(sql, id, 50)).toBe('unknown');
      waiting = answerCheck(sql, id, 10_000);
    });
    expect(await waiting).toBe('committed');
    expect(await transfers(id)).toBe(1);
  });

  it('takes one side when business and check race', async () => {
    const ids = Array.from({ length: 50 }, newId);
    const outcomes = await Promise.all(
      ids.map(async (id) => {
        const [business, told] = await Promise.allSettled([transfer(id), answerCheck(sql, id, 20_000)]);
        return {
          id,
          business: business.status,
          told: told.status === 'fulfilled' ? told.value : String(told.reason),
        };
      }),
    );
    for (const { id, business, told } of outcomes) {
      expect(told).toBe(business === 'fulfilled' ? 'committed' : 'rolled_back');
      expect(await transfers(id)).toBe(business === 'fulfilled' ? 1 : 0);
    }
  });
});

describe('the check handler', () => {
  const secret = createWebhookSecret();
  const ask = async (body: string, secrets = [secret]): Promise<Response> => {
    const bytes = new TextEncoder().encode(body);
    const signing = { id: 'check-1', timestampSeconds: Math.floor(Date.now() / 1000), secrets };
    const headers = { ...signWebhook(bytes, signing) };
    const handle = checkHandler({ secrets: [secret], sql });
    return handle(new Request('https://bank.example/check', { method: 'POST', headers, body: bytes }));
  };

  it('answers a signed question from the row', async () => {
    const id = newId();
    await transfer(id);
    const answer = await ask(JSON.stringify({ transaction: id, messages: [] }));
    expect([answer.status, await answer.text()]).toEqual([200, '{"state":"committed"}']);
  });

  it('answers nobody else, and decides nothing for them', async () => {
    const id = newId();
    const body = JSON.stringify({ transaction: id });
    expect((await ask(body, [createWebhookSecret()])).status).toBe(401);
    expect((await ask('{"transaction":"txn_1"}')).status).toBe(404);
    expect((await ask('null')).status).toBe(404);
    await transfer(id);
    expect(await transfers(id)).toBe(1);
    expect(() => checkHandler({ secrets: ['x'], sql })).toThrow(/secrets/);
  });

  it('gives no state when its database fails', async () => {
    const handle = checkHandler({ secrets: [secret], sql: () => Promise.reject(new Error('away')) });
    const bytes = new TextEncoder().encode(JSON.stringify({ transaction: newId() }));
    const headers = {
      ...signWebhook(bytes, { id: 'c', timestampSeconds: Math.floor(Date.now() / 1000), secrets: [secret] }),
    };
    const answer = await handle(
      new Request('https://bank.example/check', { method: 'POST', headers, body: bytes }),
    );
    expect(answer.status).toBe(500);
  });
});
