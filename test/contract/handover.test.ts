/** What a SET has not delivered, out of its database into a sibling's: all of it, once, in order, whoever dies at which step. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { systemClock } from '../../shared/clock.ts';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import { comeBack } from '../../shared/fleet/come-back.ts';
import { takeOver, type TakeOverParts } from '../../shared/fleet/take-over.ts';
import { mintMessageId, toUuid, transactionOf, type MessageId } from '../../shared/identifier.ts';
import type { Order } from '../../shared/message/message.ts';
import { compileRouteTable } from '../../shared/sets/route-table.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import type { Handover, Hearer } from '../../shared/store/handover.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openShelf } from '../../shared/store/mirror.ts';
import { openHandover } from '../../shared/store/postgres-handover.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const stack = useStack();
const bridge = createNeonBridge();
afterAll(() => bridge.close());

const hearers: readonly Hearer[] = ['mail', 'stock'].map((subscription) => ({
  subscription,
  owner: 'acme',
  topic: 'orders',
  pattern: '.*',
  sinceMs: 0,
}));

interface Side {
  readonly set: string;
  readonly sql: Sql;
  readonly store: Store;
  readonly handover: Handover;
}

let lost: Side;
let heir: Side;
let catalog: Catalog;
let bequeathed: readonly unknown[];
let parts: TakeOverParts;

beforeEach(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  [lost, heir] = await Promise.all([openSide('hangzhou'), openSide('singapore')]);
  bequeathed = [];
  const sets = [lost, heir].map(({ set }, number) => ({
    id: set,
    number,
    kind: 'unit' as const,
    place: { latitude: number, longitude: 0 },
    weight: 1,
    status: 'active' as const,
    shards: 1,
  }));
  const buckets = [{ from: 0, to: 16_383, set: 'hangzhou', epoch: 1 }];
  catalog = {
    version: 1,
    topics: new Map(),
    subscriptions: new Map(),
    sets: new Map(sets.map((set) => [set.id, set])),
    access: new Map(),
    keys: new Map(),
    outboxes: [],
    table: compileRouteTable({ version: 1, sets, buckets, pins: [], health: {} }),
  };
  const sideOf = (set: string): Side => (set === 'hangzhou' ? lost : heir);
  parts = {
    catalog: async () => catalog,
    writes: {
      fence: async () => undefined,
      bequeath: async (_set, holdings) => void (bequeathed = holdings),
      activate: async () => undefined,
    },
    handovers: async (set) => [sideOf(set).handover],
    shelves: async (set) => [openShelf(sideOf(set).sql)],
    stores: async (set) => [openStore(sideOf(set).sql, set)],
    hearers: async () => hearers,
    report: () => undefined,
    moves: {
      clock: systemClock,
      read: async () => ({ buckets: [], sets: [] }),
      write: () => Promise.reject(new Error('not asked')),
      books: async () => [],
    },
  };
});

async function openSide(set: string): Promise<Side> {
  const sql = openDatabase((await stack.createCorner(set)).postgresUrl);
  await migrate(sql);
  return { set, sql, store: openStore(sql, set), handover: openHandover(sql) };
}

function offerOf(more: Partial<Offer['message']> = {}): Offer {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
  const content = {
    topic: 'orders',
    mode: 'confirm',
    contentType: 'text/plain',
    headers: { a: 'b' },
  } as const;
  const placement = { set: 'hangzhou', reason: 'nearest' } as const;
  const body = new Uint8Array([0, 255, 7]);
  return { message: { ...content, id, owner: 'acme', body, acceptedAtMs: Date.now(), placement, ...more } };
}

async function commit(offers: readonly Offer[]): Promise<readonly MessageId[]> {
  await lost.store.commit(offers, { set: 'hangzhou', resendAfterMs: 60_000 });
  return offers.map(({ message }) => message.id);
}

async function confirm(ids: readonly MessageId[]): Promise<void> {
  const entries = await claim(lost, 'send');
  for (const lease of entries)
    await lost.store.settle({
      lease,
      confirmed: ids,
      unroutable: [],
      failed: [],
      again: [],
      againAfterMs: 0,
    });
}

async function claim({ sql, store, set }: Side, kind: 'send' | 'redeliver' | 'order') {
  await sql`UPDATE agenda SET due_at = now() WHERE kind = ${kind} AND due_at > now()`;
  return store.claim({ set, kind, limit: 1_000, leaseMs: 60_000 });
}

async function record(
  messageId: MessageId,
  subscription: string,
  state: 'DONE' | 'RETRY' | 'DEAD',
): Promise<void> {
  const call = { attempt: 1, status: 503, error: null, durationMs: 1, retryAfterMs: 30_000 };
  await lost.store.record([{ ...call, messageId, subscription, state }], { set: 'hangzhou', host: 'old' });
}

const laneOf = (lane: string): { readonly order: Order } => ({ order: { kind: 'lane', lane } });

async function agendaOf({ sql }: Side): Promise<readonly string[]> {
  const rows =
    await sql`SELECT kind, subscription, stream, refs, due_at <= now() AS due FROM agenda ORDER BY id`;
  return rows
    .map(({ kind, subscription, stream, refs, due }) => {
      const about = (refs as readonly string[]).length;
      return [kind, subscription, stream, about, due === true ? 'due' : 'later']
        .filter((x) => x !== null)
        .join(' ');
    })
    .toSorted();
}

const countAt = async ({ sql }: Side, table: string): Promise<number> =>
  Number((await sql.query(`SELECT count(*) AS count FROM ${table}`))[0]?.['count']);

describe('a take-over', () => {
  it('leaves what is at an end, and moves what is not with what becomes of it next', async () => {
    const [done, dead, tried, untold, halfTold] = await commit(Array.from({ length: 5 }, () => offerOf()));
    if (!done || !dead || !tried || !untold || !halfTold) throw new RangeError('too few');
    await confirm([done, dead, tried, untold, halfTold]);
    for (const name of ['mail', 'stock']) await record(done, name, 'DONE');
    await record(dead, 'mail', 'DEAD');
    await record(dead, 'stock', 'DONE');
    await record(tried, 'mail', 'RETRY');
    await record(tried, 'stock', 'DONE');
    await record(halfTold, 'mail', 'DONE');
    const [ready] = await commit([offerOf()]);
    await commit([{ ...offerOf(), due: { afterMs: 3_600_000 } }]);
    const half = offerOf();
    const transaction = {
      id: transactionOf(half.message.id),
      checkUrl: 'https://x.example/',
      firstCheckAfterMs: 60_000,
    };
    await commit([{ ...half, unit: 'tx', transaction }]);

    const taken = await takeOver(parts, { set: 'hangzhou' });
    expect(taken).toEqual({ set: 'hangzhou', database: 'there', moved: 6, heir: 'singapore' });
    expect((await lost.sql`SELECT id FROM message ORDER BY id`).map(({ id }) => String(id))).toEqual(
      [done, dead].map(toUuid).toSorted(),
    );
    expect(await agendaOf(lost)).toEqual([]);
    expect(await agendaOf(heir)).toEqual(
      [
        'check 1 later',
        'redeliver mail 1 due', // untold
        'redeliver mail 1 later', // tried
        'redeliver stock 1 due', // untold
        'redeliver stock 1 due', // halfTold
        'release 1 later',
        'send 1 due',
      ].toSorted(),
    );
    const found = await heir.store.find(tried);
    expect(found?.deliveries.map(({ subscription, state }) => [subscription, state])).toEqual([
      ['mail', 'RETRY'],
      ['stock', 'DONE'],
    ]);
    expect(found?.timeline.map(({ change }) => change)).toContain('taken over');
    const [stored] = await heir.store.load([ready ?? done]);
    expect(stored?.message.body).toEqual(Buffer.from([0, 255, 7]));
    expect(stored?.message.placement.set).toBe('singapore');
    expect(await heir.store.findTransaction(transaction.id)).toMatchObject({ state: 'PREPARED' });
    expect(bequeathed).toEqual([{ from: 0, to: 16_383, set: 'singapore', epoch: 2 }]);
  });

  it('takes lanes in their order, each subscription where it stands', async () => {
    const ids: MessageId[] = [];
    for (let n = 0; n < 5; n++)
      ids.push(...(await commit([offerOf(laneOf('user-1')), offerOf(laneOf('user-2'))])));
    await confirm(ids);
    const ones = ids.filter((_, index) => index % 2 === 0);
    const stream = 'lane/orders/user-1';
    await lost.store.arrive(
      ones.flatMap((messageId) => [{ messageId, subscription: 'mail', stream }]),
      'hangzhou',
    );
    const [entry] = await claim(lost, 'order');
    if (!entry) throw new RangeError('nothing due');
    const lease = { ...entry, subscription: 'mail', stream };
    const view = await lost.store
      .loadStreams([{ ...lease, owner: 'acme', topic: 'orders', lane: 'user-1', limit: 16 }])
      .then(([first]) => first);
    const call = { attempt: 1, status: 200, error: null, durationMs: 1, retryAfterMs: 0 };
    for (const item of view?.items.slice(0, 2) ?? [])
      await lost.store.step(
        [
          {
            lease,
            position: item.position,
            outcome: { ...call, messageId: item.messageId, subscription: 'mail', state: 'DONE' },
          },
        ],
        'old',
      );
    await takeOver(parts, { set: 'hangzhou' });
    // The lease of the old host is still running: nobody may begin before it ends.
    expect(await agendaOf(heir)).toEqual(
      [
        `order mail ${stream} 0 later`,
        `order stock ${stream} 0 due`,
        'order mail lane/orders/user-2 0 due',
        'order stock lane/orders/user-2 0 due',
      ].toSorted(),
    );
    const entries = await claim(heir, 'order');
    const views = await heir.store.loadStreams(
      entries.map((each) => ({
        ...each,
        subscription: each.subscription ?? '',
        stream: each.stream ?? '',
        owner: 'acme',
        topic: 'orders',
        lane: each.stream?.slice(-6) ?? '',
        limit: 16,
      })),
    );
    const heard = Object.fromEntries(
      entries.map(({ subscription, stream: name }, n) => [
        `${subscription} ${name?.slice(-6)}`,
        views[n]?.items.map(({ messageId }) => messageId),
      ]),
    );
    const twos = ids.filter((_, index) => index % 2 === 1);
    expect(heard).toEqual({
      'mail user-1': ones.slice(2),
      'stock user-1': ones,
      'mail user-2': twos,
      'stock user-2': twos,
    });
  });

  it('killed at any step and repeated, or done twice at once, changes nothing more', async () => {
    const steps = [
      'fence',
      'plan',
      'next',
      'takeIn',
      'sendOff',
      'belongings',
      'takeInBelongings',
      'end',
    ] as const;
    const ids = await commit(
      Array.from({ length: 40 }, (_, n) => offerOf(n % 2 ? {} : laneOf(`user-${n % 6}`))),
    );
    await confirm(ids.slice(0, 20));
    for (const step of steps)
      for (const moment of ['before', 'after'] as const) {
        const mortal = (handover: Handover): Handover => ({
          ...handover,
          async [step](...args: never[]) {
            if (moment === 'before') throw new Error('killed');
            await (handover[step] as (...given: never[]) => Promise<unknown>)(...args);
            throw new Error('killed');
          },
        });
        const dying = {
          ...parts,
          handovers: async (set: string) => (await parts.handovers(set)).map(mortal),
        };
        await expect(takeOver(dying, { set: 'hangzhou' })).rejects.toThrow('killed');
      }
    await takeOver(parts, { set: 'hangzhou' });
    await expectAllThere(ids);
  });

  it('done twice at once takes everything once', async () => {
    const ids = await commit(
      Array.from({ length: 40 }, (_, n) => offerOf(n % 2 ? {} : laneOf(`user-${n % 6}`))),
    );
    await confirm(ids.slice(0, 20));
    await Promise.all([1, 2, 3].map(() => takeOver(parts, { set: 'hangzhou' })));
    await expectAllThere(ids);
  });

  /** Forty, every other one of a lane; the first twenty were confirmed and told nobody. */
  async function expectAllThere(ids: readonly MessageId[]): Promise<void> {
    expect(await countAt(heir, 'message')).toBe(40);
    expect(await countAt(lost, 'message')).toBe(0);
    const numbered =
      await heir.sql`SELECT lane, array_agg(message_id ORDER BY position) AS ids FROM lane_entry GROUP BY lane`;
    const inOrder = ids.map(toUuid);
    for (const { ids: lane } of numbered)
      expect(lane).toEqual((lane as string[]).toSorted((a, b) => inOrder.indexOf(a) - inOrder.indexOf(b)));
    expect(await countAt(heir, 'lane_entry')).toBe(20);
    // One entry for each batch of what was READY, one for each delivery of what was confirmed, one for each stream.
    const redeliveries = (await agendaOf(heir)).filter((line) => line.startsWith('redeliver'));
    expect(redeliveries).toHaveLength(20);
  }

  it('keeps the SET from working before it is complete, and knows what has left after it', async () => {
    const ids = await commit([offerOf(), offerOf()]);
    const stuck = {
      ...parts,
      handovers: async (set: string) =>
        (await parts.handovers(set)).map((each) => ({
          ...each,
          sendOff: () => Promise.reject(new Error('killed')),
        })),
    };
    await expect(takeOver(stuck, { set: 'hangzhou' })).rejects.toThrow('killed');
    await expect(comeBack(parts, 'hangzhou')).rejects.toThrow('2 messages have yet to be taken over');
    const { tenure } = await lost.handover.progress('hangzhou');
    await expect(lost.handover.unfence('hangzhou', tenure.epoch)).rejects.toMatchObject({ kind: 'conflict' });
    await expect(commit([offerOf()])).rejects.toMatchObject({ kind: 'set-fenced' });
    await takeOver(parts, { set: 'hangzhou' });
    await comeBack(parts, 'hangzhou');
    expect(await lost.handover.departed(ids)).toEqual(new Set(ids));
    expect(await lost.handover.departed(await commit([offerOf()]))).toEqual(new Set());
  });

  it('gives back what it got when the other one is taken over in turn', async () => {
    const ids = await commit([offerOf(), offerOf(laneOf('user-1'))]);
    await takeOver(parts, { set: 'hangzhou' });
    await comeBack(parts, 'hangzhou');
    await takeOver(parts, { set: 'singapore' });
    expect(await countAt(lost, 'message')).toBe(2);
    expect(await countAt(heir, 'message')).toBe(0);
    expect(await lost.handover.departed(ids)).toEqual(new Set());
  });

  it('heeds nobody who comes late', async () => {
    const ids = await commit([offerOf(), offerOf(laneOf('user-1'))]);
    const mortal = {
      ...parts,
      handovers: async (set: string) =>
        (await parts.handovers(set)).map((each) => ({
          ...each,
          end: () => Promise.reject(new Error('killed')),
        })),
    };
    await lost.handover.fence('hangzhou');
    const wanted = { holdings: [], given: [], heir: 'singapore', central: 'singapore' };
    await lost.handover.plan('hangzhou', hearers, wanted);
    const goods = await lost.handover.next('hangzhou', hearers, 200);
    // Whoever plans after somebody else has planned goes by that.
    const later = await lost.handover.plan('hangzhou', hearers, { ...wanted, heir: 'virginia' });
    expect(later.heir).toBe('singapore');
    // A SET that is fenced itself takes nothing in.
    const { tenure } = await heir.handover.progress('singapore');
    const epoch = await heir.handover.fence('singapore');
    const takingIn = heir.handover.takeIn('singapore', 'hangzhou', goods, hearers);
    await expect(takingIn).rejects.toMatchObject({ kind: 'set-fenced' });
    await heir.handover.unfence('singapore', epoch);
    expect(epoch).toBe(tenure.epoch + 1);
    // All has left, and the end was not written: schedules and callbacks may be on their way.
    await expect(takeOver(mortal, { set: 'hangzhou' })).rejects.toThrow('killed');
    const fenced = (await lost.handover.progress('hangzhou')).tenure.epoch;
    await expect(lost.handover.unfence('hangzhou', fenced)).rejects.toMatchObject({ kind: 'conflict' });
    await takeOver(parts, { set: 'hangzhou' });
    await comeBack(parts, 'hangzhou');
    // They come back to it; whoever took the first journey for unfinished sends nothing off any more.
    await takeOver(parts, { set: 'singapore' });
    await lost.handover.sendOff('hangzhou', 'singapore', goods, hearers);
    expect(await countAt(lost, 'message')).toBe(ids.length);
    expect(await countAt(lost, 'lane_entry')).toBe(1);
  });

  it('of one that takes over from another waits until that has ended', async () => {
    await commit([offerOf()]);
    const stuck = {
      ...parts,
      handovers: async (set: string) =>
        (await parts.handovers(set)).map((each) => ({
          ...each,
          takeIn: () => Promise.reject(new Error('killed')),
        })),
    };
    await expect(takeOver(stuck, { set: 'hangzhou' })).rejects.toThrow('killed');
    const [first, second] = [...catalog.sets.values()];
    if (!first || !second) throw new RangeError('too few');
    const third = { ...second, id: 'virginia', number: 2 };
    const sets = [{ ...first, status: 'fenced' as const }, second, third];
    const table = compileRouteTable({
      version: 2,
      sets,
      buckets: catalog.table.ranges,
      pins: [],
      health: {},
    });
    catalog = { ...catalog, table, sets: new Map(sets.map((set) => [set.id, set])) };
    await expect(takeOver(parts, { set: 'singapore' })).rejects.toThrow('setway sets take-over hangzhou');
    expect((await heir.handover.progress('singapore')).tenure.state).toBe('serving');
  });
});
