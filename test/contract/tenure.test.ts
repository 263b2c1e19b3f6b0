/** The tenure of a SET: a fence waits for what is in flight, and what comes after it changes nothing. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import type { Message } from '../../shared/message/message.ts';
import { asProblem } from '../../shared/problem.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { changeTenure, readTenure, setTenure } from '../../shared/store/tenure.ts';
import { useStack } from '../stack/current-stack.ts';
import { countRows, query } from '../stack/query.ts';
import { until } from '../stack/until.ts';

const stack = useStack();
const bridge = createNeonBridge();
let url = '';
let sql: Sql;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  url = (await stack.createCorner('tenure')).postgresUrl;
  sql = openDatabase(url);
  await migrate(sql);
});
afterAll(() => bridge.close());

let nth = 0;
let set = '';
let store: Store;
beforeEach(() => {
  set = `set-${++nth}`;
  store = openStore(sql, set);
});

function offerOf(overrides: Partial<Message> = {}): Offer {
  const message: Message = {
    id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
    owner: 'acme',
    topic: 'orders',
    mode: 'confirm',
    body: new Uint8Array([1]),
    contentType: 'application/json',
    headers: {},
    acceptedAtMs: 1_700_000_000_123,
    placement: { set, reason: 'nearest' },
    ...overrides,
  };
  return { message };
}

const kindOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => asProblem(error).kind,
  );
const commit = (offer = offerOf()) => store.commit([offer], { set, resendAfterMs: 0 });
const stored = (): Promise<number> => countRows([url], 'message', `set_id = '${set}'`);
const isWaitingForLock = async (): Promise<boolean> =>
  (
    await query(
      url,
      `SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
       WHERE locktype = 'advisory' AND NOT granted AND d.datname = current_database()`,
    )
  ).length > 0;

/** A session of its own, for what stays in flight as long as a test wants. */
async function inSession<T>(work: (run: (text: string) => Promise<unknown>) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work((text) => client.query(text));
  } finally {
    await client.end();
  }
}

describe('the tenure of a SET', () => {
  it('is serving at epoch 0 before anybody has changed it', async () => {
    expect(await readTenure(sql, set)).toEqual({ epoch: 0, state: 'serving' });
    expect(await kindOf(commit())).toBe('done');
  });

  it('is changed only at the epoch it stands at, and the same change again is made already', async () => {
    const fenced = await changeTenure(sql, { set, from: 0, state: 'fenced' });
    expect(fenced).toEqual({ epoch: 1, state: 'fenced' });
    expect(await changeTenure(sql, { set, from: 0, state: 'fenced' })).toEqual(fenced);
    expect(await kindOf(changeTenure(sql, { set, from: 0, state: 'serving' }))).toBe('conflict');
    expect(await kindOf(changeTenure(sql, { set, from: 7, state: 'serving' }))).toBe('conflict');
    expect(await changeTenure(sql, { set, from: 1, state: 'serving' })).toEqual({
      epoch: 2,
      state: 'serving',
    });
    expect(await setTenure([sql, sql], set, 'serving')).toEqual({ epoch: 2, state: 'serving' });
  });

  it('goes to one of two that want it at the same epoch', async () => {
    const changes = [
      changeTenure(sql, { set, from: 0, state: 'fenced' }),
      changeTenure(sql, { set, from: 0, state: 'draining' }),
    ];
    expect((await Promise.all(changes.map(kindOf))).toSorted()).toEqual(['conflict', 'done']);
  });

  it('fenced, it refuses a commit as a whole, and no other SET of the database', async () => {
    await changeTenure(sql, { set, from: 0, state: 'fenced' });
    expect(await kindOf(commit())).toBe('set-fenced');
    expect(await stored()).toBe(0);
    expect(await kindOf(store.commit([offerOf()], { set: `${set}b`, resendAfterMs: 0 }))).toBe('done');
  });

  it('draining, it takes nothing new, and works off what it has', async () => {
    const { lease } = await commit();
    await changeTenure(sql, { set, from: 0, state: 'draining' });
    expect(await kindOf(commit())).toBe('set-fenced');
    expect(await kindOf(commit(offerOf({ placement: { set, reason: 'schedule' } })))).toBe('done');
    const claimed = await store.claim({ set, kind: 'send', limit: 10, leaseMs: 60_000 });
    expect(claimed.map(({ entry }) => entry)).toContain(lease?.entry);
  });

  it('a change waits for a commit in flight, and then the books stay as they are', async () => {
    await inSession(async (run) => {
      await run('BEGIN');
      await run(`SELECT hold_tenure('${set}', 'take')`);
      let isFenced = false;
      const fencing = changeTenure(sql, { set, from: 0, state: 'fenced' }).then(() => (isFenced = true));
      await until(20_000, isWaitingForLock);
      expect(isFenced).toBe(false);
      await run('COMMIT');
      await fencing;
    });
    expect(await kindOf(commit())).toBe('set-fenced');
  });

  it('a commit that waited for a fence sees it, although its statement began before', async () => {
    await inSession(async (run) => {
      await run('BEGIN');
      await run(`SELECT pg_advisory_xact_lock(778147, hashtext('${set}'))`);
      await run(`INSERT INTO tenure (set_id, epoch, state) VALUES ('${set}', 1, 'fenced')`);
      const committing = kindOf(commit());
      await until(20_000, isWaitingForLock);
      await run('COMMIT');
      expect(await committing).toBe('set-fenced');
    });
    expect(await stored()).toBe(0);
  });

  it('does not starve behind commits that never pause', async () => {
    let isOver = false;
    const committing = Array.from({ length: 4 }, async () => {
      while (!isOver) await commit().catch(() => (isOver = true));
    });
    await changeTenure(sql, { set, from: 0, state: 'fenced' });
    await Promise.all(committing);
    expect(isOver).toBe(true);
  });

  it('fenced, nothing its hosts have in hand gets into the books', async () => {
    const lane = offerOf({ order: { kind: 'lane', lane: 'user-1' } });
    const plain = offerOf();
    const { lease = { entry: '0', token: '0' } } = await commit(plain);
    await commit(lane);
    const by = { set, host: 'host-1' };
    const arrival = { messageId: lane.message.id, subscription: 'audit', stream: 'lane/orders/user-1' };
    await store.arrive([arrival, { ...arrival, stream: 'lane/orders/user-0' }], set);
    const [turn] = await store.claim({ set, kind: 'order', limit: 1, leaseMs: 60_000 });
    const { entry, token } = turn ?? { entry: '0', token: '0' };
    const run = { entry, token, ...arrival, owner: 'acme', topic: 'orders', lane: 'user-1', limit: 16 };
    const outcome = {
      messageId: plain.message.id,
      subscription: 'audit',
      state: 'RETRY',
      attempt: 1,
      status: 503,
      error: null,
      durationMs: 1,
      retryAfterMs: 0,
    } as const;
    const done = { ...outcome, messageId: lane.message.id, state: 'DONE' } as const;
    const nothing = { confirmed: [], unroutable: [], failed: [], again: [] };
    const books = (): Promise<unknown> =>
      Promise.all(
        ['message', 'agenda', 'delivery', 'attempt', 'stream', 'lane_entry'].map((table) =>
          query(url, `SELECT * FROM ${table} ORDER BY 1, 2`),
        ),
      );
    await changeTenure(sql, { set, from: 0, state: 'fenced' });
    const before = await books();
    const works: readonly (() => Promise<unknown>)[] = [
      () => store.claim({ set, kind: 'send', limit: 10, leaseMs: 1 }),
      () => store.claim({ set, kind: 'order', limit: 9, leaseMs: 1, rooms: { each: 1, except: {} } }),
      () => store.settle({ lease, ...nothing, confirmed: [plain.message.id], againAfterMs: 0 }),
      () => store.settle({ lease, ...nothing, again: [plain.message.id], againAfterMs: 0 }),
      () => store.record([outcome], by),
      () => store.arrive([{ ...arrival, stream: 'lane/orders/user-2' }], set),
      () => store.loadStreams([run]),
      () => store.step([{ lease: run, position: 1, outcome: done }], by.host),
    ];
    for (const work of works) expect(`${work.toString()}: ${await kindOf(work())}`).toMatch(/: set-fenced$/);
    expect(await books()).toEqual(before);
  });
});
