/** A day is dropped with what is at an end; what is still open outlives it, whole, and goes when its own end is old. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId, toUuid, transactionOf, type MessageId } from '../../shared/identifier.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const stack = useStack();
const set = 'hangzhou';
const by = { set, host: 'test-host' };
const options = { set, resendAfterMs: 60_000 };
const retention = { days: 30, idempotencyHours: 24 };
const dayMs = 86_400_000;

const bridge = createNeonBridge();
let sql: Sql;
let store: Store;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  sql = openDatabase((await stack.createCorner('retention')).postgresUrl);
  store = openStore(sql);
  await migrate(sql);
});
afterAll(() => bridge.close());

/** A message that was published so many days ago. */
function offerOf(daysAgo: number, more: Partial<Offer> = {}): Offer {
  const acceptedAtMs = Date.now() - daysAgo * dayMs;
  const id = mintMessageId({ setNumber: 1, shard: 0 }, acceptedAtMs);
  const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
  const placement = { set, reason: 'nearest' };
  const body = new TextEncoder().encode(id);
  return { message: { ...content, id, owner: 'acme', body, acceptedAtMs, placement }, ...more };
}

async function commit(daysAgo: number, more: Partial<Offer> = {}): Promise<MessageId> {
  const offer = offerOf(daysAgo, more);
  const { id } = offer.message;
  await store.commit(
    [more.transaction ? { ...offer, transaction: { ...more.transaction, id: transactionOf(id) } } : offer],
    options,
  );
  return id;
}

async function confirmed(daysAgo: number, state: 'DONE' | 'RETRY' | 'DEAD'): Promise<MessageId> {
  const offer = offerOf(daysAgo);
  const messageId = offer.message.id;
  const { lease } = await store.commit([offer], options);
  if (!lease) throw new RangeError('Nothing was stored.');
  await store.settle({
    lease,
    confirmed: [messageId],
    unroutable: [],
    failed: [],
    again: [],
    againAfterMs: 0,
  });
  const call = {
    subscription: 'mail',
    attempt: 1,
    status: 200,
    error: null,
    durationMs: 1,
    retryAfterMs: 60_000,
  };
  await store.record([{ messageId, state, ...call }], by);
  return messageId;
}

/** Everything happened as long ago as the message was published. */
async function grow(id: MessageId, daysAgo: number): Promise<void> {
  const uuid = toUuid(id);
  const at = new Date(Date.now() - daysAgo * dayMs).toISOString();
  await sql`UPDATE message SET stored_at = ${at}, confirmed_at = CASE WHEN confirmed_at IS NULL THEN NULL ELSE ${at}::timestamptz END,
    deliver_at = least(deliver_at, ${at}::timestamptz) WHERE id = ${uuid}`;
  await sql`UPDATE delivery SET updated_at = ${at} WHERE message_id = ${uuid}`;
  await sql`UPDATE message_event SET at = ${at} WHERE message_id = ${uuid}`;
  await sql`UPDATE message_end SET at = ${at} WHERE message_id = ${uuid}`;
  await sql`UPDATE attempt SET at = ${at} WHERE message_id = ${uuid}`;
}

const year = { due: { afterMs: 365 * dayMs } } as const;
const half = { transaction: { id: transactionOf('msg_' as MessageId), firstCheckAfterMs: 6_000 } } as const;
const partsOf = async (id: MessageId) => {
  const rows = await sql`
    SELECT tableoid::regclass::text AS part FROM message WHERE id = ${toUuid(id)} UNION ALL
    SELECT tableoid::regclass::text FROM message_body WHERE id = ${toUuid(id)} UNION ALL
    SELECT tableoid::regclass::text FROM message_event WHERE message_id = ${toUuid(id)} UNION ALL
    SELECT tableoid::regclass::text FROM delivery WHERE message_id = ${toUuid(id)} UNION ALL
    SELECT tableoid::regclass::text FROM attempt WHERE message_id = ${toUuid(id)}`;
  return rows.map((row) => String(row['part']));
};

describe('a day that ends', () => {
  it('leaves what is open behind, with all it has, whoever prunes at once', async () => {
    await sql`SELECT make_day(current_date - 40)`;
    const scheduled = await commit(40, year);
    await store.move({ id: scheduled, owner: 'acme', by: 'key 1', due: { afterMs: 300 * dayMs } }, set);
    const open = [scheduled, await commit(40, half), await commit(40), await confirmed(40, 'RETRY')];
    const cancelled = await commit(40, year);
    await store.cancel({ id: cancelled, owner: 'acme', by: 'key 1' }, set);
    const ended = [await confirmed(40, 'DONE'), await confirmed(40, 'DEAD'), cancelled];
    const before = await Promise.all(open.map((id) => store.find(id)));
    expect(await partsOf(scheduled)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^message_2\d{7}$/)]),
    );
    const rotated = await Promise.all([
      store.rotate(retention),
      store.rotate(retention),
      store.rotate(retention),
    ]);
    expect(rotated.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(5);
    expect(await Promise.all(open.map((id) => store.find(id)))).toEqual(before);
    expect(before.every((record) => record !== undefined)).toBe(true);
    expect(await Promise.all(ended.map((id) => store.find(id)))).toEqual(ended.map(() => undefined));
    expect(await partsOf(scheduled)).toEqual(['message_stray', 'message_body_stray', 'message_event_stray']);
    expect(await partsOf(open[3] ?? scheduled)).toEqual([
      'message_stray',
      'message_body_stray',
      'delivery_stray',
      'attempt_stray',
    ]);
    expect(await store.rotate(retention)).toMatchObject({ dropped: 0 });
    expect(await Promise.all(open.map((id) => store.find(id)))).toEqual(before);
  });

  it('does not hinder what outlived it: it is released with its body, and goes when its end is old', async () => {
    const id = await commit(41, year);
    await sql`UPDATE message SET deliver_at = now() WHERE id = ${toUuid(id)}`;
    await sql`UPDATE agenda SET due_at = now() WHERE refs = ARRAY[${toUuid(id)}::uuid]`;
    const entries = await store.claim({ set, kind: 'release', limit: 10, leaseMs: 60_000 });
    const { lease, messages } = await store.makeReady(entries, { ...options, host: 'host-1' });
    expect(messages.map(({ body }) => new TextDecoder().decode(body))).toEqual([id]);
    if (!lease) throw new RangeError('Nothing was released.');
    await store.settle({ lease, confirmed: [id], unroutable: [], failed: [], again: [], againAfterMs: 0 });
    await store.rotate(retention);
    expect(await store.find(id)).toMatchObject({ state: 'CONFIRMED' });
    await grow(id, 31);
    await store.rotate(retention);
    expect(await store.find(id)).toBeUndefined();
    expect(await partsOf(id)).toEqual([]);
  });

  it('stays whole when the move fails half-way', async () => {
    await sql`SELECT make_day(current_date - 42)`;
    const id = await confirmed(42, 'RETRY');
    const before = await partsOf(id);
    await sql`ALTER TABLE attempt_stray ADD CONSTRAINT no_more CHECK (false) NOT VALID`;
    expect(await store.rotate(retention)).toMatchObject({ dropped: 0 });
    expect(await partsOf(id)).toEqual(before);
    await sql`ALTER TABLE attempt_stray DROP CONSTRAINT no_more`;
    expect(await store.rotate(retention)).toMatchObject({ dropped: 5 });
    expect(await store.find(id)).toMatchObject({
      deliveries: [{ state: 'RETRY', attempts: [{ attempt: 1 }] }],
    });
  });

  it('stays while it has more open messages than may be moved at once', async () => {
    await sql`SELECT make_day(current_date - 43)`;
    const ids = [await commit(43, year), await commit(43, year)];
    const retire = async (most: number): Promise<unknown> => {
      const [row] = await sql`SELECT retire_day(current_date - 43, ${most}) AS dropped`;
      return row?.['dropped'];
    };
    expect(await retire(1)).toBe(0);
    expect(await partsOf(ids[0] ?? never())).toEqual([
      expect.stringMatching(/^message_2/),
      expect.stringMatching(/^message_body_2/),
    ]);
    expect(await retire(2)).toBe(5);
  });

  it('takes in what came before it was made', async () => {
    const id = await commit(-20, year);
    expect(await partsOf(id)).toEqual(['message_stray', 'message_body_stray']);
    const made = await sql`SELECT make_day(current_date + 20) AS made`;
    expect(made).toEqual([{ made: true }]);
    expect(await partsOf(id)).toEqual([
      expect.stringMatching(/^message_2\d{7}$/),
      expect.stringMatching(/^message_body_2\d{7}$/),
    ]);
    const again = offerOf(-20);
    expect(
      (await store.commit([{ ...again, message: { ...again.message, id } }], options)).receipts,
    ).toMatchObject([{ duplicate: true }]);
    expect(await sql`SELECT make_day(current_date + 20) AS made`).toEqual([{ made: false }]);
  });
});

function never(): never {
  throw new RangeError('Nothing was there.');
}
