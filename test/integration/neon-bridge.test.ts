import { neon, neonConfig, NeonDbError } from '@neondatabase/serverless';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createNeonBridge, serveNeonBridge } from '../../functions/node/neon-bridge.ts';
import { useStack } from '../stack/current-stack.ts';

interface Way {
  readonly close: () => Promise<void>;
}

const ways: Readonly<Record<string, () => Promise<Way>>> = {
  'in-process': async () => {
    const bridge = createNeonBridge({ maxConnections: 2 });
    neonConfig.fetchFunction = bridge.fetch;
    return bridge;
  },
  'over HTTP': async () => {
    const server = await serveNeonBridge(0, { maxConnections: 2 });
    neonConfig.fetchFunction = undefined;
    neonConfig.fetchEndpoint = `${server.url}/sql`;
    return server;
  },
};

describe.each(Object.entries(ways))('the Neon driver %s', (_name, open) => {
  let way: Way;
  let url: string;
  const connect = () => neon(url);

  beforeAll(async () => {
    way = await open();
    ({ postgresUrl: url } = await useStack().createCorner('neon'));
    await connect().query(
      'CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL CONSTRAINT named CHECK (owner <> $$$$))',
    );
  });
  afterAll(() => way.close());

  test('gets every type as Neon itself gives it', async () => {
    const bytes = Buffer.from([0, 1, 255]);
    const [row] =
      await connect()`SELECT 1::int AS i, 9007199254740993::bigint AS big, 1.50::numeric AS n, true AS b,
      ${'赵 "\\'}::text AS t, ${JSON.stringify({ a: [null] })}::jsonb AS j, ${bytes}::bytea AS x, ${null}::text AS nothing,
      '2026-01-02T03:04:05Z'::timestamptz AS at, ${['a', 'b,"c"']}::text[] AS list`;
    expect(row).toEqual({
      i: 1,
      big: '9007199254740993',
      n: '1.50',
      b: true,
      t: '赵 "\\',
      j: { a: [null] },
      x: bytes,
      nothing: null,
      at: new Date('2026-01-02T03:04:05Z'),
      list: ['a', 'b,"c"'],
    });
  });

  test('is answered all the same when a migration changes what a statement with a kept plan returns', async () => {
    const sql = connect();
    await sql.query('CREATE TABLE changing (a int)');
    const insert = () => sql`/* keep the plan */ INSERT INTO changing VALUES (${1}) RETURNING *`;
    const names = () => sql`SELECT count(*)::int AS n FROM pg_prepared_statements`;
    for (let use = 0; use < 4; use++) expect(await insert()).toEqual([{ a: 1 }]);
    expect((await names())[0]?.['n']).toBeGreaterThan(0);
    await sql.query('ALTER TABLE changing ADD COLUMN b int');
    for (let use = 0; use < 4; use++) expect(await insert()).toEqual([{ a: 1, b: null }]);
    expect(await sql`SELECT count(*)::int AS n FROM changing`).toEqual([{ n: 8 }]);
  });

  test('gets the rows as arrays and the full result when it asks for them', async () => {
    const result = await neon(url, { arrayMode: true, fullResults: true })`SELECT 1 AS a, 2 AS a`;
    expect(result).toMatchObject({
      command: 'SELECT',
      rowCount: 1,
      rows: [[1, 2]],
      fields: [{ name: 'a', dataTypeID: 23 }, {}],
    });
  });

  test("gets Postgres' code, constraint and detail with an error, and the connection stays usable", async () => {
    const sql = connect();
    await sql`INSERT INTO account VALUES (1, 'first')`;
    const duplicate = await sql`INSERT INTO account VALUES (1, 'second')`.catch((error: unknown) => error);
    expect(duplicate).toBeInstanceOf(NeonDbError);
    expect(duplicate).toMatchObject({
      code: '23505',
      constraint: 'account_pkey',
      table: 'account',
      severity: 'ERROR',
      detail: 'Key (id)=(1) already exists.',
    });
    await expect(sql`INSERT INTO account VALUES (2, '')`).rejects.toMatchObject({
      code: '23514',
      constraint: 'named',
    });
    const pids = await Promise.all([1, 2, 3].map(() => sql`SELECT pg_backend_pid() AS pid`));
    // More faults than the pool has connections: had each cost one, none of the old would be left.
    for (let fault = 0; fault < 3; fault++)
      await expect(sql`SELECT 1/0`).rejects.toMatchObject({ code: '22012' });
    const after = await sql`SELECT pg_backend_pid() AS pid`;
    expect(pids.flat()).toContainEqual(after[0]);
  });

  test('has all of a transaction or nothing of it', async () => {
    const sql = connect();
    const failing = sql.transaction([
      sql`INSERT INTO account VALUES (10, 'kept?')`,
      sql`INSERT INTO account VALUES (10, 'twice')`,
    ]);
    await expect(failing).rejects.toMatchObject({ code: '23505' });
    expect(await sql`SELECT * FROM account WHERE id = 10`).toEqual([]);
    const [, rows] = await sql.transaction([
      sql`INSERT INTO account VALUES (11, 'kept')`,
      sql`SELECT id FROM account WHERE id = 11`,
    ]);
    expect(rows).toEqual([{ id: 11 }]);
  });

  test('passes on the isolation level and read-only', async () => {
    const sql = connect();
    const level = sql`SELECT current_setting('transaction_isolation') AS level`;
    expect(await sql.transaction([level], { isolationLevel: 'Serializable' })).toEqual([
      [{ level: 'serializable' }],
    ]);
    const write = sql.transaction([sql`INSERT INTO account VALUES (12, 'x')`], { readOnly: true });
    await expect(write).rejects.toMatchObject({ code: '25006' });
  });

  test('stops waiting for a lock on an abort, and Postgres stops as well', async () => {
    const sql = connect();
    const gate = new AbortController();
    const reason = new Error('no longer wanted');
    const sleeping = sql.query('SELECT pg_sleep(60), $1::text', ['abandoned'], {
      fetchOptions: { signal: gate.signal },
    });
    const outcome = sleeping.catch((error: unknown) => error);
    const running = () =>
      sql`SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'`;
    await expect.poll(running, { timeout: 20_000 }).toHaveLength(1);
    gate.abort(reason);
    expect(await outcome).toMatchObject({ sourceError: reason });
    await expect.poll(running, { timeout: 20_000 }).toHaveLength(0);
    expect(await Promise.all([sql`SELECT 1 AS one`, sql`SELECT 1 AS one`])).toEqual([
      [{ one: 1 }],
      [{ one: 1 }],
    ]);
  });

  test('learns within seconds that no database is there', async () => {
    const error: unknown = await neon('postgres://setway:setway@127.0.0.1:1/none')`SELECT 1`.catch(
      (fault: unknown) => fault,
    );
    expect(error).toBeInstanceOf(NeonDbError);
    expect((error as NeonDbError).code).toBeUndefined();
    expect((error as NeonDbError).message).toMatch(/Postgres does not answer/);
  });
});
