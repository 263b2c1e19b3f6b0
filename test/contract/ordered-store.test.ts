/** The contract of streams on a real Postgres: numbering, wake-ups, leases, and the races between them. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import type { Order } from '../../shared/message/message.ts';
import { streamOf } from '../../shared/ordering/stream-name.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { LoadLease } from '../../shared/store/ordered-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';

const by = { set: 'hangzhou', host: 'one' };
const subscription = 'inventory';
const bridge = createNeonBridge();
let sql: Sql;
let store: Store;
let url: string;
let nth = 0;

beforeAll(async () => {
  configureDatabases({ fetch: bridge.fetch, timeoutMs: 10_000 });
  const corner = await useStack().createCorner('ordered');
  url = corner.postgresUrl;
  sql = openDatabase(url);
  store = openStore(sql);
  await migrate(sql);
});
afterAll(() => bridge.close());

function offerOf(order: Order, text = 'x'): Offer {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
  const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
  const placement = { set: by.set, reason: 'nearest' };
  const body = Buffer.from(text);
  return { message: { ...content, id, owner: 'acme', body, placement, acceptedAtMs: Date.now(), order } };
}

const commit = (offers: readonly Offer[]) =>
  store.commit(offers, { set: 'unsent', resendAfterMs: 3_600_000 });
const newLane = () => `lane-${nth++}`;

async function publishInLane(lane: string, amount = 1): Promise<readonly Offer[]> {
  const offers = Array.from({ length: amount }, () => offerOf({ kind: 'lane', lane }));
  await commit(offers);
  return offers;
}

const arrive = (lane: string, offers: readonly Offer[]) =>
  store.arrive(
    offers.map(({ message }) => ({
      messageId: message.id,
      subscription,
      stream: streamOf('lane', 'orders', lane),
    })),
    by.set,
  );

/** The lease of the one stream that is due. */
async function claimLane(lane: string, leaseMs = 60_000): Promise<LoadLease> {
  const claimed = await store.claim({ set: by.set, kind: 'order', limit: 100, leaseMs });
  const entry = claimed.find(({ stream }) => stream === streamOf('lane', 'orders', lane));
  if (!entry) throw new Error('The lane is not due.');
  return {
    ...entry,
    subscription,
    stream: entry.stream ?? '',
    owner: 'acme',
    topic: 'orders',
    lane,
    limit: 16,
  };
}

async function load(lease: LoadLease) {
  const [view] = await store.loadStreams([lease]);
  if (!view) throw new Error('The lease is over.');
  return view;
}

function done(offer: Offer) {
  const shared = { subscription, attempt: 1, status: 200, error: null, durationMs: 1, retryAfterMs: 0 };
  return { ...shared, messageId: offer.message.id, state: 'DONE' as const };
}

describe('a lane', () => {
  it('begins for a new subscription where it stood when that came; a copy from before is astray', async () => {
    const lane = newLane();
    const [before] = await publishInLane(lane);
    const [row] = await sql`SELECT extract(epoch FROM clock_timestamp()) * 1000 AS ms`;
    const [first, second] = await publishInLane(lane, 2);
    if (!before || !first || !second) throw new Error('Nothing was published.');
    const arrival = ({ message }: Offer) => ({
      messageId: message.id,
      subscription,
      stream: streamOf('lane', 'orders', lane),
      sinceMs: Number(row?.['ms']),
    });
    // Out of order, as a broker may: the cursor is the same.
    expect(await store.arrive([second, first].map(arrival), by.set)).toEqual(['ordered', 'ordered']);
    expect(await store.arrive([before].map(arrival), by.set)).toEqual(['astray']);
    const { items } = await load(await claimLane(lane));
    expect(items.map(({ messageId }) => messageId)).toEqual([first, second].map(({ message }) => message.id));
  });

  it('is numbered in the order of commits: whoever sees a position sees all before it', async () => {
    const lane = newLane();
    const look = async () =>
      (await sql`SELECT message_id FROM lane_entry WHERE lane = ${lane} ORDER BY position`).map((row) =>
        String(row['message_id']),
      );
    const seen: (readonly string[])[] = [];
    const writing = { isOver: false };
    const reading = (async () => {
      while (!writing.isOver) seen.push(await look());
    })();
    const writer = async () => {
      for (let turn = 0; turn < 12; turn++) await publishInLane(lane, 3);
    };
    await Promise.all(Array.from({ length: 6 }, writer));
    writing.isOver = true;
    await reading;
    const all = await look();
    expect(all).toHaveLength(6 * 12 * 3);
    for (const prefix of seen) expect(all.slice(0, prefix.length)).toEqual(prefix);
  });

  it('keeps the order of one commit, and numbers no repetition', async () => {
    const lane = newLane();
    const offers = await publishInLane(lane, 20);
    await commit([...offers, ...offers]);
    await arrive(lane, offers);
    const lease = await claimLane(lane);
    const { items, more } = await load(lease);
    expect(items.map(({ messageId }) => messageId)).toEqual(
      offers.slice(0, 16).map(({ message }) => message.id),
    );
    expect(more).toBe('perhaps');
    await store.step([{ lease, position: items.at(-1)?.position ?? 0 }], by.host);
    const rest = await load(lease);
    expect(rest.items.map(({ messageId }) => messageId)).toEqual(
      offers.slice(16).map(({ message }) => message.id),
    );
  });

  it('is not closed over an arrival that came after it was loaded', async () => {
    const lane = newLane();
    const [first] = await publishInLane(lane);
    if (!first) throw new Error('Nothing was published.');
    await arrive(lane, [first]);
    const lease = await claimLane(lane);
    const view = await load(lease);
    const second = await publishInLane(lane);
    await arrive(lane, second);
    const position = view.items[0]?.position ?? 0;
    const stepped = await store.step(
      [{ lease, position, outcome: done(first), closeAt: view.signals }],
      by.host,
    );
    expect(stepped).toEqual(['held']);
    const { items, signals } = await load(lease);
    expect(items.map(({ messageId }) => messageId)).toEqual(second.map(({ message }) => message.id));
    const end = { lease, position: items[0]?.position ?? 0, closeAt: signals };
    expect(await store.step([end], by.host)).toEqual(['closed']);
  });

  it('is not closed over an arrival that commits while the close waits for it', async () => {
    const lane = newLane();
    const offers = await publishInLane(lane);
    await arrive(lane, offers);
    const lease = await claimLane(lane);
    const { signals, items } = await load(lease);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      await client.query('BEGIN');
      await client.query('UPDATE agenda SET signals = signals + 1 WHERE id = $1', [lease.entry]);
      const closing = store.step([{ lease, position: items[0]?.position ?? 0, closeAt: signals }], by.host);
      await until(10_000, async () => {
        const rows =
          await sql`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`;
        return rows.length > 0;
      });
      await client.query('COMMIT');
      expect(await closing).toEqual(['held']);
    } finally {
      await client.end();
    }
  });

  it('a stale worker may say DONE and decides nothing else', async () => {
    const lane = newLane();
    const [first, second] = await publishInLane(lane, 2);
    if (!first || !second) throw new Error('Nothing was published.');
    await arrive(lane, [first, second]);
    const stale = await claimLane(lane, 0);
    const lease = await claimLane(lane);
    const [one, two] = (await load(lease)).items;
    const step = { lease: stale, position: two?.position ?? 0 };
    expect(await store.step([{ ...step, outcome: { ...done(second), state: 'DEAD' } }], by.host)).toEqual([
      'lost',
    ]);
    expect((await load(lease)).items).toHaveLength(2);
    const told = { lease: stale, position: one?.position ?? 0, outcome: done(first), closeAt: 0 };
    expect(await store.step([told], by.host)).toEqual(['lost']);
    expect((await load(lease)).items.map(({ messageId }) => messageId)).toEqual([second.message.id]);
    expect(await store.loadStreams([stale])).toEqual([undefined]);
  });

  it('a copy behind the cursor is known by its outcome, and astray without one', async () => {
    const lane = newLane();
    const [first, second] = await publishInLane(lane, 2);
    if (!first || !second) throw new Error('Nothing was published.');
    await arrive(lane, [second]);
    const lease = await claimLane(lane);
    const { items, signals } = await load(lease);
    const end = { lease, position: items.at(-1)?.position ?? 0, closeAt: signals };
    await store.step([{ ...end, outcome: done(second) }], by.host);
    expect(await arrive(lane, [first, second])).toEqual(['astray', 'ordered']);
    const stream = streamOf('lane', 'orders', lane);
    expect(await sql`SELECT id FROM agenda WHERE stream = ${stream}`).toEqual([]);
  });
});

describe('a sequence', () => {
  const newSequence = (size: number) => {
    const session = `seq-${nth++}`;
    return Array.from({ length: size }, (_, index) =>
      offerOf({
        kind: 'sequence',
        session,
        sequence: index + 1,
        size,
        deadlineMs: 3_600_000,
        onGap: 'block',
      }),
    );
  };
  const gather = (offers: readonly Offer[], fingerprint = 'same') =>
    store.gather(
      offers.flatMap(({ message: { id, order } }) =>
        order?.kind === 'sequence'
          ? [
              {
                messageId: id,
                subscription,
                stream: streamOf('session', 'orders', order.session),
                item: { ...order, fingerprint },
              },
            ]
          : [],
      ),
      by,
    );
  const isDue = async () => ((await store.nextDueInMs(by.set, ['order'])) ?? 1) <= 0;

  it('wakes when its last item has come, whoever brings it and however often', async () => {
    const offers = newSequence(20);
    await commit(offers);
    await Promise.all(offers.slice(1).flatMap((offer) => [gather([offer]), gather([offer])]));
    expect(await isDue()).toBe(false);
    await Promise.all([gather(offers), gather(offers.slice(0, 1))]);
    expect(await isDue()).toBe(true);
    const entries = await store.claim({ set: by.set, kind: 'order', limit: 10, leaseMs: 60_000 });
    expect(entries).toHaveLength(1);
    await store.finish(entries);
  });

  it('refuses another message under a number that is taken, and skips the same content', async () => {
    const offers = newSequence(2);
    const session = offers[0]?.message.order;
    if (!session) throw new Error('There is no order.');
    await commit(offers);
    await gather(offers.slice(0, 1));
    const [other, same] = [offerOf(session), offerOf(session)];
    await commit([other, same]);
    expect(await gather([other], 'other')).toEqual(['refused']);
    expect(await gather([same])).toEqual(['ordered']);
    const keys = [other, same].map(({ message }) => ({ messageId: message.id, subscription }));
    const states = new Map((await store.deliveries(keys)).map(({ messageId, state }) => [messageId, state]));
    expect([states.get(other.message.id), states.get(same.message.id)]).toEqual(['DEAD', 'SKIPPED']);
  });
});
