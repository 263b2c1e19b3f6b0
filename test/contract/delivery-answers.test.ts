/** Deliveries that consumers hold, in the store: who decides when, and that one entry goes on with each. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId, toUuid, type MessageId } from '../../shared/identifier.ts';
import type { AnswerToRecord, DeliveryOutcome } from '../../shared/store/delivery-outcome.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const set = 'hangzhou';
const by = { set, host: 'host-1' };
const consumer = { set, host: 'consumer' };
const subscription = 'inventory';
const bridge = createNeonBridge();
let sql: Sql;
let store: Store;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  const corner = await useStack().createCorner('answers');
  sql = openDatabase(corner.postgresUrl);
  store = openStore(sql);
  await migrate(sql);
});
afterAll(() => bridge.close());

function outcomeOf(messageId: MessageId, more: Partial<DeliveryOutcome>): DeliveryOutcome {
  const called = { messageId, subscription, attempt: 1, status: 202, error: null, durationMs: 3 } as const;
  return { ...called, state: 'LEASED', retryAfterMs: 60_000, ...more };
}

async function leased(more: Partial<DeliveryOutcome> = {}): Promise<MessageId> {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
  expect(await store.record([outcomeOf(id, more)], by)).toEqual([{ messageId: id, subscription }]);
  return id;
}

async function say(messageId: MessageId, state: AnswerToRecord['state'], more: Partial<AnswerToRecord> = {}) {
  const said = { messageId, subscription, attempt: 1, state, error: null, afterMs: 60_000, ...more };
  const [effect] = await store.answer([said], consumer);
  return effect;
}

async function stateOf(messageId: MessageId) {
  return (await store.deliveries([{ messageId, subscription }]))[0]?.state;
}

async function entriesOf(messageId: MessageId) {
  return sql`SELECT id, attempts, due_at - now() > interval '50 seconds' AS is_later, due_at <= now() AS is_due
    FROM agenda WHERE refs[1] = ${toUuid(messageId)}`;
}

/** The lease ends. */
async function expire(messageId: MessageId): Promise<void> {
  await sql`UPDATE agenda SET due_at = now() - interval '1 second' WHERE refs[1] = ${toUuid(messageId)}`;
  await sql`UPDATE delivery SET next_attempt_at = now() - interval '1 second' WHERE message_id = ${toUuid(messageId)}`;
}

async function claim(messageId: MessageId) {
  const claimed = await store.claim({ set, kind: 'redeliver', limit: 1000, leaseMs: 60_000 });
  const [entry] = claimed.filter(({ refs }) => refs[0] === messageId);
  if (!entry) throw new Error('Nothing fell due.');
  return entry;
}

/** A message of a lane whose stream is claimed. */
async function headOfLane() {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
  const lane = crypto.randomUUID();
  const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
  const placement = { set, reason: 'nearest' };
  const order = { kind: 'lane', lane } as const;
  const message = {
    ...content,
    id,
    owner: 'acme',
    body: new Uint8Array([1]),
    acceptedAtMs: 1,
    placement,
    order,
  };
  await store.commit([{ message }], { set, resendAfterMs: 60_000 });
  const stream = `lane/orders/${lane}`;
  await store.arrive([{ messageId: id, subscription, stream }], set);
  const claimed = await store.claim({ set, kind: 'order', limit: 100, leaseMs: 60_000 });
  const entry = claimed.find((each) => each.stream === stream);
  if (!entry) throw new Error('The lane did not wake.');
  const lease = { entry: entry.entry, token: entry.token, subscription, stream };
  const load = () => store.loadStreams([{ ...lease, owner: 'acme', topic: 'orders', lane, limit: 10 }]);
  const dueInMs = async (): Promise<number> => {
    const rows =
      await sql`SELECT extract(epoch FROM due_at - now()) * 1000 AS ms FROM agenda WHERE id = ${entry.entry}::bigint`;
    return Number(rows[0]?.['ms']);
  };
  return { id, lease, load, dueInMs };
}

describe('the head of a lane that its consumer holds', () => {
  it('lets its lane sleep until the lease ends, and wakes it when it is done', async () => {
    const { id, lease, load, dueInMs } = await headOfLane();
    await load();
    await store.step([{ lease, position: 0, outcome: outcomeOf(id, { retryAfterMs: 300_000 }) }], 'host-1');
    expect(await dueInMs()).toBeGreaterThan(200_000);
    expect((await load())[0]?.items[0]).toMatchObject({
      state: 'LEASED',
      attempts: 1,
      heldMs: expect.any(Number) as number,
    });
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made', wakes: 'order' });
    expect(await dueInMs()).toBeLessThanOrEqual(0);
  });

  it('does not put its lane to sleep when it was done before that was written', async () => {
    const { id, lease, dueInMs } = await headOfLane();
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made' });
    await store.step([{ lease, position: 0, outcome: outcomeOf(id, { retryAfterMs: 300_000 }) }], 'host-1');
    expect(await stateOf(id)).toBe('DONE');
    expect(await dueInMs()).toBeLessThanOrEqual(0);
  });

  it('is woken by done even if somebody looked at it meanwhile and goes to rest', async () => {
    const { id, lease, load, dueInMs } = await headOfLane();
    await store.step([{ lease, position: 0, outcome: outcomeOf(id, { retryAfterMs: 300_000 }) }], 'host-1');
    const [seen] = await load();
    if (!seen) throw new Error('The lease is lost.');
    await say(id, 'DONE');
    await store.rest(lease, seen, 300_000);
    expect(await dueInMs()).toBeLessThanOrEqual(0);
  });

  it('is not ended by a worker that comes before its lease is over', async () => {
    const { id, lease } = await headOfLane();
    await store.step([{ lease, position: 0, outcome: outcomeOf(id, {}) }], 'host-1');
    await store.step([{ lease, position: 0, outcome: outcomeOf(id, { state: 'RETRY' }) }], 'host-1');
    expect(await stateOf(id)).toBe('LEASED');
    await sql`UPDATE delivery SET next_attempt_at = now() WHERE message_id = ${toUuid(id)}`;
    await store.step([{ lease, position: 0, outcome: outcomeOf(id, { state: 'RETRY' }) }], 'host-1');
    expect(await stateOf(id)).toBe('RETRY');
  });
});

describe('a delivery that its consumer holds', () => {
  it('has one entry, due when the lease ends', async () => {
    const id = await leased();
    expect(await stateOf(id)).toBe('LEASED');
    expect(await entriesOf(id)).toMatchObject([{ attempts: 1, is_later: true }]);
  });

  it('is done when its consumer says so, and then nothing is left to do', async () => {
    const id = await leased();
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made', state: 'DONE' });
    expect(await entriesOf(id)).toEqual([]);
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'was-so', state: 'DONE' });
    expect(await say(id, 'RETRY')).toMatchObject({ outcome: 'too-late', state: 'DONE' });
    expect(await say(id, 'LEASED')).toMatchObject({ outcome: 'too-late', state: 'DONE' });
    expect(await stateOf(id)).toBe('DONE');
  });

  it('is done even if that is said before the lease is written', async () => {
    const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
    expect(await say(id, 'RETRY')).toMatchObject({ outcome: 'too-early' });
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made' });
    expect(await store.record([outcomeOf(id, {})], by)).toEqual([]);
    expect([await stateOf(id), await entriesOf(id)]).toEqual(['DONE', []]);
  });

  it('is tried again when its consumer says that it failed; saying it twice changes nothing', async () => {
    const id = await leased({ retryAfterMs: 1_000 });
    expect(await say(id, 'RETRY')).toMatchObject({ outcome: 'made', state: 'RETRY' });
    const before = await entriesOf(id);
    expect(before).toMatchObject([{ attempts: 1, is_later: true }]);
    expect(await say(id, 'RETRY', { afterMs: 0 })).toMatchObject({ outcome: 'was-so', state: 'RETRY' });
    expect(await entriesOf(id)).toEqual(before);
  });

  it('is dead when its consumer says that no try will help', async () => {
    const id = await leased();
    expect(await say(id, 'DEAD', { error: 'no such sku' })).toMatchObject({ outcome: 'made', state: 'DEAD' });
    expect([await stateOf(id), await entriesOf(id)]).toEqual(['DEAD', []]);
    // Done is true even then: a dead letter that was handled after all is none.
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made', state: 'DONE' });
  });

  it('is held longer when its consumer asks for it', async () => {
    const id = await leased({ retryAfterMs: 1_000 });
    expect(await entriesOf(id)).toMatchObject([{ is_later: false }]);
    expect(await say(id, 'LEASED')).toMatchObject({ outcome: 'made', state: 'LEASED' });
    expect(await entriesOf(id)).toMatchObject([{ is_later: true }]);
    // Prolonged entries are held by the same rule as new ones.
    expect(await say(id, 'RETRY')).toMatchObject({ outcome: 'made' });
  });

  it('is decided by nobody but the claimant once its lease was claimed as ended, except by done', async () => {
    const id = await leased();
    await expire(id);
    const entry = await claim(id);
    expect(await say(id, 'LEASED')).toMatchObject({ outcome: 'too-late' });
    expect(await say(id, 'DEAD')).toMatchObject({ outcome: 'too-late' });
    const ended = outcomeOf(id, { state: 'RETRY', status: null, lease: entry });
    expect(await store.record([ended], by)).toEqual([{ messageId: id, subscription }]);
    expect(await stateOf(id)).toBe('RETRY');
    expect(await entriesOf(id)).toMatchObject([{ attempts: 1, is_later: true }]);
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made', state: 'DONE' });
  });

  it('is not touched by a copy that fails meanwhile, whatever that decides', async () => {
    const id = await leased();
    for (const state of ['RETRY', 'DEAD', 'LEASED'] as const)
      expect(await store.record([outcomeOf(id, { state, status: 409 })], by)).toEqual([]);
    expect(await stateOf(id)).toBe('LEASED');
    expect(await entriesOf(id)).toHaveLength(1);
  });

  it('keeps a later try from what an earlier one says, except that it is done', async () => {
    const id = await leased();
    await expire(id);
    await store.record([outcomeOf(id, { state: 'RETRY', retryAfterMs: 0, lease: await claim(id) })], by);
    await store.record([outcomeOf(id, { attempt: 2, lease: await claim(id) })], by);
    expect(await say(id, 'DEAD')).toMatchObject({ outcome: 'too-late', state: 'LEASED' });
    expect(await say(id, 'LEASED')).toMatchObject({ outcome: 'too-late', state: 'LEASED' });
    expect(await say(id, 'DONE')).toMatchObject({ outcome: 'made' });
  });

  it('has one outcome when done, failed and the end of the lease come at once', async () => {
    const ids = await Promise.all(Array.from({ length: 40 }, () => leased()));
    await Promise.all(ids.map(expire));
    const claimed = await store.claim({ set, kind: 'redeliver', limit: 1000, leaseMs: 60_000 });
    const leaseOf = new Map(claimed.map((entry) => [entry.refs[0], entry]));
    await Promise.all(
      ids.flatMap((id, n) => {
        const lease = leaseOf.get(id);
        const ended = outcomeOf(id, { state: 'RETRY', ...(lease ? { lease } : {}) });
        return [store.record([ended], by), say(id, n % 2 === 0 ? 'DONE' : 'RETRY'), say(id, 'LEASED')];
      }),
    );
    const states = await Promise.all(ids.map(stateOf));
    expect(states).toEqual(ids.map((_, n) => (n % 2 === 0 ? 'DONE' : 'RETRY')));
    const open = ids.filter((_, n) => n % 2 === 1);
    const entries = await Promise.all(open.map(entriesOf));
    expect(entries.map((of) => of.length)).toEqual(open.map(() => 1));
  });

  it('owes one callback per end, however many say so at once, and none for what changes nothing', async () => {
    const success = 'https://shop.example.com/done';
    const failure = 'https://shop.example.com/failed';
    const callback = { success, failure };
    const id = await leased();
    const owed = () =>
      sql`SELECT c.state, c.url, c.tries, c.error, count(a.id)::int AS entries FROM delivery_callback c
        LEFT JOIN agenda a ON a.refs[1] = c.id AND a.kind = 'callback' AND a.set_id = ${set}
        WHERE c.message_id = ${toUuid(id)} GROUP BY c.id ORDER BY c.state`;
    const dead = { callback, error: 'no such sku' };
    expect(await say(id, 'LEASED', { callback })).not.toHaveProperty('owes');
    const failed = await Promise.all(Array.from({ length: 6 }, () => say(id, 'DEAD', dead)));
    expect(failed.filter((effect) => effect?.owes === 'callback')).toHaveLength(1);
    expect(await owed()).toEqual([
      { state: 'DEAD', url: failure, tries: 1, error: 'no such sku', entries: 1 },
    ]);
    const both = { messageId: id, subscription, attempt: 1, state: 'DONE', error: null, afterMs: 0 } as const;
    await Promise.all(
      Array.from({ length: 6 }, () =>
        store.answer(
          [
            { ...both, callback },
            { ...both, callback },
          ],
          consumer,
        ),
      ),
    );
    expect(await owed()).toMatchObject([
      { state: 'DEAD' },
      { state: 'DONE', url: success, error: null, entries: 1 },
    ]);
  });

  it('owes no callback when nobody asked for one', async () => {
    const id = await leased();
    expect(await say(id, 'DONE', { callback: { failure: 'https://shop.example.com/' } })).toEqual({
      outcome: 'made',
      state: 'DONE',
      wakes: 'redeliver',
    });
  });

  it('takes many answers in one call, each with its own effect', async () => {
    const [a, b, c] = await Promise.all([leased(), leased(), leased()]);
    const said = (messageId: MessageId, state: AnswerToRecord['state']): AnswerToRecord => ({
      messageId,
      subscription,
      attempt: 1,
      state,
      error: null,
      afterMs: 5_000,
    });
    const effects = await store.answer([said(a, 'DONE'), said(b, 'RETRY'), said(c, 'LEASED')], consumer);
    expect(effects.map(({ outcome, state }) => [outcome, state])).toEqual([
      ['made', 'DONE'],
      ['made', 'RETRY'],
      ['made', 'LEASED'],
    ]);
  });
});
