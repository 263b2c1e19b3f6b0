/** The store contract, with the driver in-process over `pg` and over HTTP through the bridge. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import type { AgendaKind, DueEntry } from '../../shared/agenda/agenda.ts';
import { mintMessageId, type MessageId } from '../../shared/identifier.ts';
import type { Message } from '../../shared/message/message.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { DeliveryOutcome } from '../../shared/store/delivery-outcome.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';

const stack = useStack();
const set = 'hangzhou';

function offerOf(overrides: Partial<Message> = {}, idempotency?: Offer['idempotency']): Offer {
  const message: Message = {
    id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
    owner: 'acme',
    topic: 'orders',
    mode: 'confirm',
    body: new Uint8Array([0, 255, 128, 10]),
    contentType: 'application/octet-stream',
    headers: { 'x-shop': 'café' },
    acceptedAtMs: 1_700_000_000_123,
    placement: { set, reason: 'nearest', distanceKm: 12.5 },
    ...overrides,
  };
  return idempotency === undefined ? { message } : { message, idempotency };
}

function outcomeOf(messageId: MessageId, overrides: Partial<DeliveryOutcome> = {}): DeliveryOutcome {
  const outcome = {
    messageId,
    subscription: 'inventory',
    state: 'DONE',
    attempt: 1,
    status: 200,
    error: null,
  } as const;
  return { ...outcome, durationMs: 3, retryAfterMs: 0, ...overrides };
}

const commitOptions = { set, resendAfterMs: 60_000 };
const by = { set, host: 'test-host' };

const transports = [
  { name: 'in-process', open: () => ({ bridge: createNeonBridge(), endpoint: undefined }) },
  { name: 'over HTTP', open: () => ({ bridge: undefined, endpoint: stack.neonEndpoint }) },
] as const;

describe.each(transports)('the Postgres store, driver $name', ({ open }) => {
  let sql: Sql;
  let store: Store;
  let close = async (): Promise<void> => undefined;

  beforeAll(async () => {
    const { bridge, endpoint } = open();
    configureDatabases({
      timeoutMs: 10_000,
      ...(bridge ? { fetch: bridge.fetch } : {}),
      ...(endpoint === undefined ? {} : { endpoint }),
    });
    if (bridge) close = () => bridge.close();
    const corner = await stack.createCorner('store');
    sql = openDatabase(corner.postgresUrl);
    store = openStore(sql);
    await migrate(sql);
  });
  afterAll(() => close());

  it('migrates once, however often and by however many it is asked', async () => {
    expect(await Promise.all([migrate(sql), migrate(sql), migrate(sql)])).toEqual([[], [], []]);
  });

  it('commits a group with one agenda entry and gives every message back byte for byte', async () => {
    const offers = [
      offerOf({ tag: 'eu.created', key: 'user-1' }),
      offerOf(),
      offerOf({ body: new Uint8Array() }),
    ];
    const { receipts, lease } = await store.commit(offers, commitOptions);
    expect(receipts).toEqual(
      offers.map(({ message }) => ({ id: message.id, state: 'READY', duplicate: false })),
    );
    expect(lease).toBeDefined();
    const loaded = await store.load(offers.map(({ message }) => message.id));
    const found = offers.map(({ message }) => loaded.find((each) => each.message.id === message.id)?.message);
    expect(found.map((each) => ({ ...each, body: new Uint8Array(each?.body ?? []) }))).toEqual(
      offers.map(({ message }) => message),
    );
  });

  it('takes the same id twice as one message', async () => {
    const offer = offerOf();
    const first = await store.commit([offer], commitOptions);
    await store.settle({ lease: first.lease ?? never(), ...said({ confirmed: [offer.message.id] }) });
    const second = await store.commit([offer, offerOf()], commitOptions);
    expect(second.receipts[0]).toEqual({ id: offer.message.id, state: 'CONFIRMED', duplicate: true });
    expect(second.receipts[1]).toMatchObject({ duplicate: false });
  });

  it('answers each of several offers that are repeated with its own id', async () => {
    const offers = [offerOf(), offerOf(), offerOf()];
    await store.commit(offers, commitOptions);
    const { receipts } = await store.commit(offers, commitOptions);
    expect(receipts.map(({ id }) => id)).toEqual(offers.map(({ message }) => message.id));
    expect(receipts.every(({ duplicate }) => duplicate)).toBe(true);
  });

  it('answers a repeated idempotency key with the first message, and another body as a mismatch', async () => {
    const key = { keyHash: 'a'.repeat(64), fingerprint: 'one' };
    const first = offerOf({}, key);
    await store.commit([first], commitOptions);
    const again = await store.commit(
      [offerOf({}, key), offerOf({}, { ...key, fingerprint: 'two' })],
      commitOptions,
    );
    expect(again.receipts).toEqual([
      { id: first.message.id, state: 'READY', duplicate: true },
      { id: first.message.id, state: 'READY', duplicate: true, mismatch: true },
    ]);
    expect(again.lease).toBeUndefined();
    const other = await store.commit([offerOf({ owner: 'other' }, key)], commitOptions);
    expect(other.receipts[0]).toMatchObject({ duplicate: false });
  });

  it('stores a unit whole, or not at all when the key of its first message is taken', async () => {
    const key = { keyHash: 'u'.repeat(64), fingerprint: 'one' };
    const unit = [
      { ...offerOf({}, key), unit: 'u1' },
      { ...offerOf(), unit: 'u1' },
    ];
    const copy = [
      { ...offerOf({}, key), unit: 'u2' },
      { ...offerOf(), unit: 'u2' },
    ];
    const other = offerOf();
    const { receipts } = await store.commit([...unit, ...copy, other], commitOptions);
    expect(receipts.map(({ duplicate }) => duplicate)).toEqual([false, false, true, true, false]);
    expect(await store.load(copy.map(({ message }) => message.id))).toEqual([]);
  });

  it('keeps what is due later out of the sending, and hands it out once it is due', async () => {
    const soon = { ...offerOf({ expiresAtMs: 4_000_000_000_000 }), due: { afterMs: 30 } };
    const past = { ...offerOf(), due: { atMs: 1_000_000_000_000 } };
    const later = { ...offerOf(), due: { atMs: 4_000_000_000_000 } };
    const { receipts, dueInMs } = await store.commit([soon, past, later], { ...commitOptions, set: 'due' });
    expect(receipts.map(({ state }) => state)).toEqual(['SCHEDULED', 'READY', 'SCHEDULED']);
    expect(dueInMs).toBeCloseTo(30, 0);
    const entries = await until(5_000, async () => nonEmpty(await claimDue('release')));
    const ready = { set: 'due', host: 'test', resendAfterMs: 60_000 };
    const { lease, messages } = await store.makeReady(entries, ready);
    expect(messages.map((message) => ({ ...message, body: [...message.body] }))).toEqual([
      { ...soon.message, body: [...soon.message.body], placement: { ...soon.message.placement, set: 'due' } },
    ]);
    expect(lease).toBeDefined();
    // A worker whose lease is over gets nothing.
    expect(await store.makeReady(entries, ready)).toEqual({ messages: [] });
    expect((await store.find(later.message.id))?.state).toBe('SCHEDULED');
  });

  const nonEmpty = (entries: readonly DueEntry[]) => (entries.length > 0 ? entries : undefined);
  const claimDue = (kind: AgendaKind) => store.claim({ set: 'due', kind, limit: 10, leaseMs: 60_000 });

  it('stores one of a hundred concurrent offers with one idempotency key', async () => {
    const key = { keyHash: 'b'.repeat(64), fingerprint: 'one' };
    const offers = Array.from({ length: 100 }, () => offerOf({}, key));
    const commits = await Promise.all(offers.map((offer) => store.commit([offer], commitOptions)));
    const receipts = commits.flatMap((commit) => commit.receipts);
    expect(receipts.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1);
  });

  it('stores one of two equal offers in one commit, and says so', async () => {
    const offer = offerOf({}, { keyHash: 'c'.repeat(64), fingerprint: 'one' });
    const { receipts } = await store.commit([offer, offer], commitOptions);
    expect(receipts.map(({ id, duplicate }) => ({ id, duplicate }))).toEqual([
      { id: offer.message.id, duplicate: false },
      { id: offer.message.id, duplicate: true },
    ]);
  });

  it('commits groups that repeat each other in another order, without a deadlock', async () => {
    const keyed = (index: number) => ({ keyHash: String(index).padStart(64, 'c'), fingerprint: 'one' });
    const offers = Array.from({ length: 300 }, (_, index) => offerOf({}, keyed(index)));
    const groups = Array.from({ length: 8 }, (_, turn) => (turn % 2 === 0 ? offers : offers.toReversed()));
    const commits = await Promise.all(groups.map((group) => store.commit(group, commitOptions)));
    const fresh = commits.flatMap(({ receipts }) => receipts).filter(({ duplicate }) => !duplicate);
    expect(fresh).toHaveLength(offers.length);
  });

  it('settles by the lease only, and never takes a state back', async () => {
    const [a, b, c, d] = [offerOf(), offerOf(), offerOf(), offerOf()];
    const { lease = never() } = await store.commit([a, b, c, d], { ...commitOptions, resendAfterMs: 0 });
    const [claimed = never()] = await store.claim({ set, kind: 'send', limit: 1, leaseMs: 60_000 });
    expect(claimed.refs).toHaveLength(4);
    const ids = [a, b, c, d].map(({ message }) => message.id) as [MessageId, MessageId, MessageId, MessageId];
    // The holder of the old lease comes late: its confirm is true, but the entry is not its own any more.
    await store.settle({ lease, ...said({ confirmed: [ids[0]], again: [ids[1]] }) });
    await store.settle({
      lease: claimed,
      ...said({ unroutable: [ids[0], ids[1]], failed: [ids[2]], again: [ids[3]] }),
    });
    const states = await Promise.all(ids.map(async (id) => (await store.find(id))?.state));
    expect(states).toEqual(['CONFIRMED', 'UNROUTABLE', 'FAILED', 'READY']);
    const rest = await store.claim({ set, kind: 'send', limit: 10, leaseMs: 1_000 });
    expect(rest.map(({ refs, attempts }) => ({ refs, attempts }))).toEqual([{ refs: [ids[3]], attempts: 1 }]);
    await store.finish(rest);
  });

  it('gives a due entry to one of many claimants, and again when the lease is over', async () => {
    const offer = offerOf();
    await store.commit([offer], { set: 'lonely', resendAfterMs: 0 });
    const claim = (leaseMs: number) => store.claim({ set: 'lonely', kind: 'send', limit: 10, leaseMs });
    const claims = await Promise.all(Array.from({ length: 20 }, () => claim(0)));
    expect(claims.flat().length).toBeGreaterThanOrEqual(1);
    const held = await claim(60_000);
    expect(held).toHaveLength(1);
    expect(await Promise.all(Array.from({ length: 20 }, () => claim(60_000)))).toEqual(
      Array.from({ length: 20 }, () => []),
    );
    expect(await store.nextDueInMs('lonely', ['send'])).toBeGreaterThan(50_000);
    await store.finish(claims.flat().slice(0, 1)); // a stale token
    await store.release(held, 0);
    const [last = never()] = await claim(60_000);
    await store.finish([last]);
    expect(await store.nextDueInMs('lonely', ['send', 'redeliver'])).toBeUndefined();
  });

  it('never gives one entry to two who claim at once', async () => {
    const entries = 100;
    const commit = () => store.commit([offerOf()], { set: 'crowded', resendAfterMs: 0 });
    await Promise.all(Array.from({ length: entries }, commit));
    const claim = () => store.claim({ set: 'crowded', kind: 'send', limit: entries, leaseMs: 60_000 });
    const claims = await Promise.all(Array.from({ length: 8 }, claim));
    const claimed = claims.flat().map(({ entry }) => entry);
    expect(claimed).toHaveLength(entries);
    expect(new Set(claimed).size).toBe(entries);
  });

  it('records outcomes in bulk, with their attempts and the next try', async () => {
    const offers = [offerOf(), offerOf()];
    await store.commit(offers, commitOptions);
    const [a = never(), b = never()] = offers.map(({ message }) => message.id);
    await store.record(
      [
        outcomeOf(a),
        outcomeOf(a, {
          subscription: 'receipt',
          state: 'RETRY',
          status: 503,
          error: 'busy',
          retryAfterMs: 0,
        }),
        outcomeOf(b, { state: 'DEAD', status: 400 }),
      ],
      by,
    );
    const record = await store.find(a);
    expect(record?.deliveries).toMatchObject([
      {
        subscription: 'inventory',
        state: 'DONE',
        attempts: [{ attempt: 1, status: 200, host: 'test-host' }],
      },
      { subscription: 'receipt', state: 'RETRY', attempts: [{ attempt: 1, status: 503, error: 'busy' }] },
    ]);
    const [entry = never()] = await store.claim({ set, kind: 'redeliver', limit: 10, leaseMs: 60_000 });
    expect(entry).toMatchObject({ refs: [a], subscription: 'receipt', attempts: 1 });
    await store.record([outcomeOf(a, { subscription: 'receipt', attempt: 2, lease: entry })], by);
    expect(await store.nextDueInMs(set, ['redeliver'])).toBeUndefined();
    expect((await store.find(a))?.deliveries[1]).toMatchObject({
      state: 'DONE',
      attempts: [{}, { attempt: 2 }],
    });
  });

  it('records an error that is no text for Postgres: a NUL, half of a surrogate pair', async () => {
    const offer = offerOf();
    await store.commit([offer], commitOptions);
    const { id } = offer.message;
    await store.record([outcomeOf(id, { state: 'DEAD', status: 500, error: 'a\u0000b \ud83d' })], by);
    const attempts = (await store.find(id))?.deliveries[0]?.attempts;
    expect(attempts).toMatchObject([{ error: 'a\ufffdb \ufffd' }]);
  });

  it('never revives a delivery that ended, nor doubles a retry, when a copy is reported late', async () => {
    const offer = offerOf();
    await store.commit([offer], commitOptions);
    const { id } = offer.message;
    const retry = outcomeOf(id, { state: 'RETRY', retryAfterMs: 60_000 });
    await store.record([retry, retry], by);
    await store.record([retry], by);
    const entries = async () => {
      const [row] = await sql`SELECT count(*)::int AS n FROM agenda WHERE kind = 'redeliver'`;
      return Number(row?.['n']);
    };
    expect(await entries()).toBe(1);
    await store.record([outcomeOf(id)], by);
    await store.record([outcomeOf(id, { state: 'RETRY', attempt: 5, retryAfterMs: 0 })], by);
    expect(await entries()).toBe(1);
    expect(await store.deliveries([{ messageId: id, subscription: 'inventory' }])).toMatchObject([
      { messageId: id, subscription: 'inventory', state: 'DONE', attempts: 1 },
    ]);
  });

  it('makes partitions ahead and drops those behind the retention', async () => {
    await sql`SELECT make_day(current_date - 40)`;
    const rotated = await store.rotate({ days: 30, idempotencyHours: 24 });
    expect(rotated.dropped).toBe(5);
    const rows = await sql`SELECT tableoid::regclass::text AS part FROM message LIMIT 1`;
    expect(rows[0]?.['part']).toMatch(/^message_\d{8}$/);
    expect((await store.rotate({ days: 30, idempotencyHours: 24 })).dropped).toBe(0);
  });

  it('says database-unavailable when nobody answers', async () => {
    const away = openStore(openDatabase('postgres://setway:setway@127.0.0.1:1/none'));
    await expect(away.load([offerOf().message.id])).rejects.toMatchObject({ kind: 'database-unavailable' });
  });
});

function said(ids: Partial<Record<'confirmed' | 'unroutable' | 'failed' | 'again', readonly MessageId[]>>) {
  return { confirmed: [], unroutable: [], failed: [], again: [], againAfterMs: 0, ...ids };
}

function never(): never {
  throw new Error('expected a value');
}
