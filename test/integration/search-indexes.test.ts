/** Every filter of the search goes through its index on a table of 100,000 messages, and confirms stay heap-only. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { fromUuid, mintMessageId } from '../../shared/identifier.ts';
import type { MessageFilter, MessageSearch } from '../../shared/sets/search.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import { searchMessages, searchQuery } from '../../shared/store/search.ts';
import { useStack } from '../stack/current-stack.ts';

const rows = 100_000;
const set = 'frankfurt';
const of = { owner: 'demo', topics: ['orders', 'mails'], subscriptions: ['receipt', 'inventory'] };
/** The third of the table's topics is another owner's. */
const ownRows = Math.ceil((rows / 3) * 2);

const ways: readonly (readonly [what: string, filter: MessageFilter, index: RegExp, found: number])[] = [
  ['nothing', {}, /message_\d+_topic_stored_at_idx/, ownRows],
  ['a topic', { topic: 'orders' }, /message_\d+_topic_stored_at_idx/, ownRows / 2],
  ['a time', { fromMs: 1, toMs: 4_000_000_000_000 }, /message_\d+_topic_stored_at_idx/, ownRows],
  ['a key', { key: 'user-7' }, /message_\d+_key_stored_at_idx/, 7],
  ['a lane', { lane: 'lane-6' }, /message_\d+_lane_stored_at_idx/, 7],
  ['a session', { session: 'session-9' }, /message_\d+_session_stored_at_idx/, 7],
  ['UNROUTABLE', { state: 'UNROUTABLE' }, /message_end_by_state/, 3_333],
  ['READY', { state: 'READY' }, /agenda_due/, 2],
  [
    'a dead delivery',
    { subscription: 'receipt', deliveryState: 'DEAD' },
    /delivery_\d+_subscription_state_updated_at_message_id_idx/,
    66,
  ],
  ['an error', { error: 'teapot' }, /attempt_\d+_error_idx/, 66],
];

describe('search on a table of 100,000 messages', () => {
  const bridge = createNeonBridge();
  let sql: Sql;

  beforeAll(async () => {
    configureDatabases({ fetch: bridge.fetch, timeoutMs: 60_000 });
    const { postgresUrl } = await useStack().createCorner('search-indexes');
    sql = openDatabase(postgresUrl);
    await migrate(sql);
    await fill(sql);
  }, 120_000);
  afterAll(() => bridge.close());

  const searchFor = (filter: MessageFilter): MessageSearch => ({ of, filter, limit: 51 });
  const planOf = async (filter: MessageFilter): Promise<string> => {
    const plan = await sql`EXPLAIN ${searchQuery(sql, set, searchFor(filter))}`;
    return plan.map((row) => String(row['QUERY PLAN'])).join('\n');
  };

  it.each(ways)('%s is found through an index', async (_what, filter, index, found) => {
    const plan = await planOf(filter);
    expect(plan).toMatch(index);
    const today = new Date().toISOString().slice(0, 10).replaceAll('-', '');
    // Partitions of other days are empty: reading them is free.
    expect(plan).not.toContain(`Seq Scan on message_${today}`);
    expect(plan).not.toContain(`Seq Scan on attempt_${today}`);
    const page = await searchMessages(sql, set, searchFor(filter));
    expect(page).toHaveLength(Math.min(51, Math.floor(found)));
  });

  it('a page deep inside begins where the one before ended', async () => {
    const [first] = await sql`SELECT id, (extract(epoch FROM stored_at) * 1000000)::bigint AS at FROM message
      WHERE owner = 'demo' ORDER BY stored_at DESC, id DESC OFFSET 40000 LIMIT 1`;
    const after = { atMicros: String(first?.['at']), id: fromUuid(String(first?.['id'])) };
    const [plan, page] = await Promise.all([
      sql`EXPLAIN ${searchQuery(sql, set, { ...searchFor({}), after })}`,
      searchMessages(sql, set, { ...searchFor({}), after, limit: 3 }),
    ]);
    expect(JSON.stringify(plan)).toMatch(/Index Cond: [^"]*topic = t.topic\) AND \(stored_at <=/);
    const expected =
      await sql`SELECT id FROM message WHERE owner = 'demo' ORDER BY stored_at DESC, id DESC OFFSET 40001 LIMIT 3`;
    expect(page.map(({ id }) => id)).toEqual(expected.map((row) => fromUuid(String(row['id']))));
  });

  it('marking confirms is a heap-only update, with the indexes as without', async () => {
    const store = openStore(sql);
    const hot = async () => {
      const [row] = await sql`SELECT sum(n_tup_upd)::int AS updates, sum(n_tup_hot_upd)::int AS hot
        FROM pg_stat_user_tables WHERE relname ~ '^message_[0-9]{8}$'`;
      return { updates: Number(row?.['updates']), hot: Number(row?.['hot']) };
    };
    const before = await hot();
    const placement = { set, reason: 'nearest' } as const;
    const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
    const offers = Array.from({ length: 200 }, (_, index) => {
      const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
      const body = new Uint8Array([index]);
      return {
        message: { ...content, id, owner: 'demo', key: `k${index}`, body, placement, acceptedAtMs: 0 },
      };
    });
    const { lease } = await store.commit(offers, { set, resendAfterMs: 60_000 });
    if (!lease) throw new Error('Nothing was committed.');
    const confirmed = offers.map(({ message }) => message.id);
    await store.settle({ lease, confirmed, unroutable: [], failed: [], again: [], againAfterMs: 0 });
    await sql`SELECT pg_stat_force_next_flush()`.catch(() => undefined);
    await expect.poll(async () => (await hot()).updates - before.updates, { timeout: 20_000 }).toBe(200);
    // A page is filled to 55 % at first: four of five new versions find room beside the old one.
    expect((await hot()).hot - before.hot).toBeGreaterThan(100);
  });
});

/** Messages of three topics over a day, one in twenty of them unroutable, one delivery in a thousand dead. */
async function fill(sql: Sql): Promise<void> {
  await sql`
    INSERT INTO message (id, owner, topic, key, lane, session, sequence, state, set_id, reason, size, accepted_at, stored_at)
    SELECT (left(day_floor(current_date)::text, 14) || '7001-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
      CASE n % 3 WHEN 2 THEN 'rival' ELSE 'demo' END, (ARRAY['orders', 'mails', 'secrets'])[n % 3 + 1],
      'user-' || n % 10000, CASE WHEN n % 5 = 1 THEN 'lane-' || n % 10000 END,
      CASE WHEN n % 10 = 9 THEN 'session-' || n % 10000 END, 1,
      CASE WHEN n < 3 THEN 'READY' ELSE 'CONFIRMED' END, ${set}, 'nearest', 1, now(),
      now() - make_interval(secs => (n / 500)::double precision)
    FROM generate_series(0, ${rows - 1}::integer) AS n`;
  await sql`UPDATE message SET state = 'UNROUTABLE', error = 'No queue.' WHERE ('x' || right(id::text, 8))::bit(32)::int % 20 = 19`;
  await sql`
    INSERT INTO delivery (message_id, subscription, state, attempts)
    SELECT id, 'receipt', CASE WHEN n % 1000 = 998 THEN 'DEAD' ELSE 'DONE' END, 1
    FROM (SELECT id, ('x' || right(id::text, 8))::bit(32)::int AS n FROM message) AS m`;
  await sql`
    INSERT INTO attempt (message_id, subscription, attempt, host, status, outcome, duration_ms, error)
    SELECT message_id, subscription, 1, 'host', 200, state, 1,
      CASE state WHEN 'DEAD' THEN 'HTTP 418: I am a Teapot' ELSE CASE WHEN random() < 0.1 THEN 'HTTP 503: busy' END END
    FROM delivery`;
  await sql`
    INSERT INTO agenda (kind, set_id, refs, due_at) SELECT 'send', ${set}, array_agg(id), now() + interval '1 hour'
    FROM message WHERE state = 'READY'`;
  await sql`
    INSERT INTO agenda (kind, set_id, refs, due_at)
    SELECT 'redeliver', ${set}, ARRAY[gen_random_uuid()], now() FROM generate_series(1, 2000)`;
  for (const table of ['message', 'message_end', 'delivery', 'attempt', 'agenda'])
    await sql.query(`ANALYZE ${table}`);
}
