/** The outbox's table on a real Postgres: who takes a row, what becomes of it, and in which order. */
import { neon, neonConfig } from '@neondatabase/serverless';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import type { SqlRunner } from '../../shared/idempotency/sql.ts';
import { drain, type RowOutcome } from '../../shared/outbox/drain.ts';
import { install, outbox } from '../../shared/outbox/outbox.ts';
import type { OutboxRow } from '../../shared/outbox/outbox-table.ts';
import { useStack } from '../stack/current-stack.ts';

const bridge = createNeonBridge();
const table = 'shop_outbox';
let pool: pg.Pool;
let sql: SqlRunner;
let postgresUrl = '';

beforeAll(async () => {
  ({ postgresUrl } = await useStack().createCorner('outbox'));
  neonConfig.fetchFunction = bridge.fetch;
  pool = new pg.Pool({ connectionString: postgresUrl, max: 10 });
  sql = (text, params) => pool.query(text, [...params]);
  await install(sql, table);
  await install(sql, table);
});
afterAll(async () => {
  await pool.end();
  await bridge.close();
});
beforeEach(() => pool.query(`DELETE FROM ${table}`));

const message = (body: unknown, key?: string) => ({
  topic: 'mails',
  body,
  ...(key === undefined ? {} : { key }),
});
const waiting = async (): Promise<number> => (await pool.query(`SELECT FROM ${table}`)).rowCount ?? 0;
const free = () => pool.query(`UPDATE ${table} SET free_at = now()`);
const bodyOf = (row: OutboxRow): unknown => (JSON.parse(row.message) as { readonly body: unknown }).body;

/** Drains with a publisher that only notes, and answers as it is told. */
async function drained(answer: (body: unknown) => RowOutcome = () => 'taken', max = 1_000) {
  const published: unknown[] = [];
  const publish = async (row: OutboxRow): Promise<RowOutcome> => {
    published.push(bodyOf(row));
    return answer(bodyOf(row));
  };
  return { ...(await drain({ sql, table, publish }, max)), published };
}

describe('an outbox', () => {
  it('has the message when the business commits and has none when it does not', async () => {
    const client = await pool.connect();
    const inside = outbox((text, params) => client.query(text, [...params]), { table });
    await client.query('BEGIN');
    await inside.add(message('gone'));
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    await inside.add(message('kept'));
    expect((await drained()).published).toEqual([]);
    await client.query('COMMIT');
    client.release();
    expect(await drained()).toMatchObject({ taken: 1, published: ['kept'] });
    expect(await waiting()).toBe(0);
  });

  it('takes part in a transaction that is sent at once', async () => {
    const remote = neon(postgresUrl);
    const { id, text, params } = outbox(sql, { table }).statement(message('once'));
    const both = [remote.query(text, [...params]), remote.query('SELECT 1 / 0')];
    await expect(remote.transaction(both)).rejects.toThrow(/division/);
    expect(await waiting()).toBe(0);
    await remote.transaction([remote.query(text, [...params])]);
    const { rows } = await pool.query<{ id: string }>(`SELECT id FROM ${table}`);
    expect(rows).toEqual([{ id }]);
  });

  it('refuses a message that could never be published, before it is stored', async () => {
    await expect(outbox(sql, { table }).add({ topic: 'mäils', body: 1 })).rejects.toMatchObject({
      kind: 'invalid-request',
    });
    await expect(outbox(sql, { table: 'x; DROP TABLE y' }).add(message(1))).rejects.toThrow(/table name/);
    await expect(outbox(sql, { table }).flush()).rejects.toThrow(/where to publish/);
    expect(await waiting()).toBe(0);
  });

  it('gives each row to one of many who drain at once', async () => {
    for (let index = 0; index < 250; index++) await outbox(sql, { table }).add(message(index));
    const all = await Promise.all(Array.from({ length: 5 }, () => drained()));
    const published = all.flatMap((each) => each.published);
    expect(published).toHaveLength(250);
    expect(new Set(published).size).toBe(250);
    expect(await waiting()).toBe(0);
  });

  it('publishes the rows of one key in their order, and none past one that is put off', async () => {
    const box = outbox(sql, { table });
    for (const index of [1, 2, 3]) await box.add(message(`a${index}`, 'a'));
    await box.add(message('b1', 'b'));
    const first = await drained((body) => (body === 'a2' ? 'later' : 'taken'));
    expect(first.published.filter((body) => body !== 'b1')).toEqual(['a1', 'a2']);
    expect(first).toMatchObject({ taken: 2, later: 2 });
    // A further one of the key must wait behind those that were put off.
    await box.add(message('a4', 'a'));
    expect((await drained()).published).toEqual([]);
    await free();
    expect((await drained()).published).toEqual(['a2', 'a3', 'a4']);
  });

  it('keeps a refused row with its reason and goes on with the others', async () => {
    for (const body of ['good', 'bad', 'better']) await outbox(sql, { table }).add(message(body, 'a'));
    const refused = { refused: 'HTTP 404: no such topic' };
    expect(await drained((body) => (body === 'bad' ? refused : 'taken'))).toMatchObject({
      taken: 2,
      refused: 1,
    });
    const { rows } = await pool.query(`SELECT refused FROM ${table}`);
    expect(rows).toEqual([refused]);
    await free();
    expect((await drained()).published).toEqual([]);
  });

  it('puts off what fails, longer each time', async () => {
    await outbox(sql, { table }).add(message(1));
    const waits: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      await drained(() => 'later');
      const text = `SELECT round(extract(epoch FROM free_at - now()))::int AS seconds FROM ${table}`;
      const { rows } = await pool.query<{ seconds: number }>(text);
      waits.push(rows[0]?.seconds ?? 0);
      await free();
    }
    expect(waits).toEqual([1, 2, 4, 8]);
  });
});
