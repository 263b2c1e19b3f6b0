/** Copies of messages that another SET delivers, on a real Postgres: passive, held once, gone in time. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { systemClock } from '../../shared/clock.ts';
import { promoteHeld } from '../../shared/fleet/promote-held.ts';
import { createCopies } from '../../shared/delivery/copies.ts';
import { fromUuid, mintMessageId } from '../../shared/identifier.ts';
import { toOutbound } from '../../shared/message/envelope.ts';
import type { Message } from '../../shared/message/message.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import type { Replication } from '../../shared/subscriptions/replication.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { useStack } from '../stack/current-stack.ts';

const bridge = createNeonBridge();
let sql: Sql;
let store: Store;

beforeAll(async () => {
  configureDatabases({ fetch: bridge.fetch, timeoutMs: 10_000 });
  sql = openDatabase((await useStack().createCorner('copies')).postgresUrl);
  await migrate(sql);
  store = openStore(sql);
});
afterAll(() => bridge.close());

function messageFrom(set: string, more: Partial<Message> = {}): Message {
  return {
    id: mintMessageId({ setNumber: 2, shard: 0 }, Date.now()),
    owner: 'acme',
    topic: 'orders',
    tag: 'eu.created',
    key: 'user-42',
    mode: 'confirm',
    body: new Uint8Array([0, 255, 7]),
    contentType: 'application/json',
    headers: { 'x-a': 'ü' },
    acceptedAtMs: 1_790_000_000_000,
    placement: { set, reason: 'nearest', distanceKm: 12.5 },
    ...more,
  };
}

const keepForMs = 60_000;

it('a copy is held once and whole, in the order of arrival, and nobody finds it as a message', async () => {
  const lane = { kind: 'lane', lane: 'user-42' } as const;
  const first = messageFrom('here', { order: lane });
  const second = messageFrom('here', { retries: { delaysMs: [5], attempts: 2 } as never });
  await store.hold([second, first].map((message) => ({ message, keepForMs })));
  await Promise.all([first, second].map((message) => store.hold([{ message, keepForMs }])));
  const held = await store.findHeld('here', null, 10);
  expect(held.map(({ message }) => ({ ...message, body: [...message.body] }))).toEqual(
    [second, first].map((message) => ({ ...message, body: [...message.body] })),
  );
  const [one, two] = held;
  expect(await store.findHeld('here', one?.place ?? null, 10)).toEqual([two]);
  expect(await store.findHeld('elsewhere', null, 10)).toEqual([]);
  expect(await store.find(first.id)).toBeUndefined();
  expect(await store.load([first.id])).toEqual([]);
  expect(await store.countHeld()).toEqual(new Map([['here', 2]]));
  await store.forgetHeld([first.id]);
  expect(await store.findHeld('here', null, 10)).toEqual([one]);
});

it('no copy is held of a message that this database has itself', async () => {
  const own = messageFrom('twice');
  await store.commit([{ message: own }], { set: 'twice', resendAfterMs: 60_000 });
  await store.hold([{ message: own, keepForMs }]);
  expect(await store.findHeld('twice', null, 10)).toEqual([]);
});

it('copies whose time is over go, some at a time', async () => {
  const copies = [1, 2, 3].map(() => ({ message: messageFrom('old'), keepForMs }));
  await store.hold(copies);
  await store.hold([{ message: messageFrom('young'), keepForMs }]);
  await sql.query("UPDATE held_copy SET keep_until = now() - interval '1 second' WHERE origin = 'old'");
  expect(await store.dropOldHeld(2)).toBe(2);
  expect(await store.dropOldHeld(2)).toBe(1);
  expect(await store.dropOldHeld(2)).toBe(0);
  expect(await store.findHeld('young', null, 10)).toHaveLength(1);
});

it('the topic says whether copies are held; what was promised at most once, and what is foreign, is dropped', async () => {
  const topics: Readonly<Record<string, Replication>> = {
    orders: { others: 'hold', keepForMs },
    logins: { others: 'drop', keepForMs },
  };
  const passCopy = createCopies({
    set: 'there',
    stores: [store],
    clock: systemClock,
    telemetry: createTelemetry(),
    topic: (name) => ({ replicate: topics[name] }),
  });
  const held = messageFrom('judged');
  const unknown = messageFrom('judged', { topic: 'just-marked' });
  const copies = [
    held,
    messageFrom('judged', { topic: 'logins' }),
    messageFrom('judged', { mode: 'fast' }),
    unknown,
  ].map((message) => ({ ...toOutbound(message), redelivered: false, isCopy: true as const }));
  const foreign = {
    body: new Uint8Array(),
    routingKey: 'a',
    properties: { headers: {} },
    redelivered: false,
    isCopy: true,
  } as const;
  await Promise.all([...copies, foreign].map(passCopy));
  const found = await store.findHeld('judged', null, 10);
  expect(found.map(({ message }) => message.id).toSorted()).toEqual([held.id, unknown.id].toSorted());
});

it('copies of a SET that is lost become messages of another one, once, in their order, and are sent', async () => {
  const lane = { kind: 'lane', lane: 'user-42' } as const;
  const copies = [1, 2, 3].map(() => messageFrom('lost', { order: lane, topic: 'lanes' }));
  const old = messageFrom('lost', { acceptedAtMs: 1 });
  await store.hold([old, ...copies].map((message) => ({ message, keepForMs })));
  const taker = { set: 'taker', stores: [store] };
  const promotion = { origin: 'lost', sinceMs: 2 };
  expect(await promoteHeld(taker, promotion)).toBe(3);
  expect(await promoteHeld(taker, promotion)).toBe(0);
  expect((await store.findHeld('lost', null, 10)).map(({ message }) => message.id)).toEqual([old.id]);
  const [first] = copies;
  expect(await store.find(first?.id ?? old.id)).toMatchObject({
    state: 'READY',
    set: 'taker',
    lane: 'user-42',
    route: { reason: 'take-over' },
  });
  const due = await store.claim({ set: 'taker', kind: 'send', limit: 10, leaseMs: 60_000 });
  expect(due.flatMap(({ refs }) => refs).toSorted()).toEqual(copies.map(({ id }) => id).toSorted());
  const places = await sql.query(
    "SELECT message_id FROM lane_entry WHERE lane = 'user-42' ORDER BY position",
  );
  expect(places.map((row) => fromUuid(String(row['message_id'])))).toEqual(copies.map(({ id }) => id));
  // The links of a sibling bring a copy once more: it is this SET's own by now.
  await store.hold(copies.map((message) => ({ message, keepForMs })));
  expect(await store.findHeld('lost', null, 10)).toHaveLength(1);
});
