/** Scheduled messages in the store: one winner between a change and the release, whatever comes at once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId, type MessageId } from '../../shared/identifier.ts';
import type { Due, Message } from '../../shared/message/message.ts';
import type { FoundMessage } from '../../shared/sets/search.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const stack = useStack();
const set = 'hangzhou';
const owner = 'acme';
const by = 'key 1';
const options = { set, resendAfterMs: 60_000 };
const release = { ...options, host: 'host-1' };

const bridge = createNeonBridge();
let sql: Sql;
let store: Store;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  sql = openDatabase((await stack.createCorner('delayed-store')).postgresUrl);
  store = openStore(sql);
  await migrate(sql);
});
afterAll(() => bridge.close());

function offerOf(due: Due, overrides: Partial<Message> = {}): Offer {
  const message: Message = {
    id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
    owner,
    topic: 'orders',
    mode: 'confirm',
    body: new Uint8Array([1]),
    contentType: 'application/octet-stream',
    headers: {},
    acceptedAtMs: Date.now(),
    placement: { set, reason: 'nearest' },
    ...overrides,
  };
  return { message, due };
}

async function commit(due: Due, amount = 1, overrides: Partial<Message> = {}): Promise<readonly MessageId[]> {
  const offers = Array.from({ length: amount }, () => offerOf(due, overrides));
  await store.commit(offers, options);
  return offers.map(({ message }) => message.id);
}

/** As when the time has come: no test waits for it. */
async function fallDue(): Promise<void> {
  await sql`UPDATE message SET deliver_at = now() WHERE state = 'SCHEDULED'`;
  await sql`UPDATE agenda SET due_at = now() WHERE kind = 'release'`;
}

async function releaseAll(): Promise<readonly MessageId[]> {
  const entries = await store.claim({ set, kind: 'release', limit: 1000, leaseMs: 60_000 });
  const { messages } = await store.makeReady(entries, release);
  return messages.map(({ id }) => id);
}

const minute = { afterMs: 60_000 } as const;
const stateOf = async (id: MessageId) => (await store.find(id))?.state;
const releases = async () =>
  Number((await sql`SELECT count(*) AS n FROM agenda WHERE kind = 'release'`)[0]?.['n']);

describe('a scheduled message', () => {
  it('is released once, by whoever is first, and never before its time', async () => {
    const ids = await commit(minute, 3);
    expect(await releaseAll()).toEqual([]);
    const entries = await store.claim({ set, kind: 'release', limit: 10, leaseMs: 0 });
    expect(entries).toEqual([]);
    await fallDue();
    const claimed = await Promise.all([releaseAll(), releaseAll(), releaseAll()]);
    expect(claimed.flat().toSorted()).toEqual(ids.toSorted());
    expect(await releases()).toBe(0);
  });

  it('is not released by an entry that looks too early', async () => {
    const [id] = await commit(minute);
    await sql`UPDATE agenda SET due_at = now() WHERE kind = 'release'`;
    expect(await releaseAll()).toEqual([]);
    expect(id && (await stateOf(id))).toBe('SCHEDULED');
    await store.cancel({ id: id ?? never(), owner, by }, set);
  });

  it('is not released with a claim that somebody else has taken over', async () => {
    const ids = await commit(minute);
    await fallDue();
    const late = await store.claim({ set, kind: 'release', limit: 10, leaseMs: 0 });
    const second = await store.claim({ set, kind: 'release', limit: 10, leaseMs: 60_000 });
    expect((await store.makeReady(late, release)).messages).toEqual([]);
    expect((await store.makeReady(second, release)).messages.map(({ id }) => id)).toEqual(ids);
  });

  it('is cancelled with its agenda entry, and stays in one it shares', async () => {
    const [alone = never()] = await commit(minute);
    const [first = never(), second = never()] = await commit(minute, 2);
    for (const id of [alone, first])
      expect(await store.cancel({ id, owner, by }, set)).toMatchObject({
        outcome: 'made',
        state: 'CANCELLED',
      });
    expect(await store.cancel({ id: first, owner, by }, set)).toMatchObject({ outcome: 'made' });
    expect(await store.cancel({ id: second, owner: 'rival', by }, set)).toBeUndefined();
    expect(await releases()).toBe(1);
    await fallDue();
    expect(await releaseAll()).toEqual([second]);
    expect(await store.cancel({ id: second, owner, by }, set)).toMatchObject({
      outcome: 'too-late',
      state: 'READY',
    });
    const rows = await sql`SELECT change, by_whom FROM message_event WHERE change = 'cancelled'`;
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatchObject({ by_whom: by });
  });

  it('is moved with its agenda entry, and the log says from when to when', async () => {
    const [id = never()] = await commit(minute);
    const at = Date.UTC(2027, 0, 2, 3, 4, 5, 678);
    const moved = await store.move({ id, owner, by, due: { atMs: at } }, set);
    expect(moved?.change).toEqual({
      outcome: 'made',
      state: 'SCHEDULED',
      deliverAt: '2027-01-02T03:04:05.678Z',
    });
    expect(await releases()).toBe(1);
    const [event] = await sql`SELECT detail FROM message_event WHERE change = 'moved'`;
    expect(event?.['detail']).toMatch(/^from 20\d\d-.*Z to 2027-01-02T03:04:05\.678Z$/);
    const sooner = await store.move({ id, owner, by, due: { afterMs: 5_000 } }, set);
    expect(sooner?.dueInMs).toBeCloseTo(5_000, -1);
    await store.cancel({ id, owner, by }, set);
  });

  it('is not moved behind its expiry', async () => {
    const [id = never()] = await commit(minute, 1, { expiresAtMs: Date.now() + 120_000 });
    const moved = await store.move({ id, owner, by, due: { afterMs: 150_000 } }, set);
    expect(moved?.change).toMatchObject({ outcome: 'expires-first', state: 'SCHEDULED' });
    await store.cancel({ id, owner, by }, set);
  });

  it('has one winner when cancel and release come at once', async () => {
    for (let round = 0; round < 8; round++) {
      const ids = await commit(minute, 12);
      await fallDue();
      const [released, ...cancelled] = await Promise.all([
        releaseAll(),
        ...ids.map((id) => store.cancel({ id, owner, by }, set)),
      ]);
      const won = ids.filter((_, index) => cancelled[index]?.outcome === 'made');
      expect([...released, ...won].toSorted()).toEqual(ids.toSorted());
      for (const id of won) expect(await stateOf(id)).toBe('CANCELLED');
    }
    expect(await releases()).toBe(0);
  });

  it('has one winner when moves and releases come at once, and the last move stands', async () => {
    for (let round = 0; round < 8; round++) {
      const ids = await commit(minute, 10);
      await fallDue();
      const [released, ...moves] = await Promise.all([
        releaseAll(),
        ...ids.flatMap((id) =>
          [100_000, 200_000].map((afterMs) => store.move({ id, owner, by, due: { afterMs } }, set)),
        ),
      ]);
      for (const [index, id] of ids.entries()) {
        const outcomes = moves.slice(index * 2, index * 2 + 2).map((moved) => moved?.change.outcome);
        expect(outcomes).toEqual(released.includes(id) ? ['too-late', 'too-late'] : ['made', 'made']);
      }
      const [row] = await sql`
        SELECT count(*)::int AS entries, count(m.id)::int AS meant FROM agenda a
        LEFT JOIN message m ON m.id = ANY(a.refs) AND m.deliver_at = a.due_at WHERE a.kind = 'release'`;
      const waiting = ids.length - released.length;
      expect(row?.['meant']).toBe(waiting);
      await Promise.all(ids.map((id) => store.cancel({ id, owner, by }, set)));
      await fallDue();
      expect(await releaseAll()).toEqual([]);
    }
  });

  it('is listed from where the page before ended, whatever was released before', async () => {
    const before = await commit(minute, 3);
    await fallDue();
    expect(await releaseAll()).toHaveLength(3);
    const ids = (await Promise.all([3, 1, 2].map((n) => commit({ afterMs: n * 60_000 })))).flat();
    const list = (limit: number, after?: FoundMessage) =>
      store.listScheduled({ owner, limit, ...(after ? { after: after.position } : {}) }, set);
    const [first, second] = await list(2);
    expect([first?.id, second?.id]).toEqual([ids[1], ids[2]]);
    expect((await list(2, second)).map(({ id }) => id)).toEqual([ids[0]]);
    expect(before).not.toContain(first?.id);
    expect(await store.listScheduled({ owner: 'rival', limit: 10 }, set)).toEqual([]);
  });
});

function never(): never {
  throw new RangeError('Nothing was there.');
}
