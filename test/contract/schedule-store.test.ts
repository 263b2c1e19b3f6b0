/** Schedules on a real Postgres: many are moved in one statement, each only while its own lease is held. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { mintMessageId, scheduleOf, type ScheduleId } from '../../shared/identifier.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const set = 'hangzhou';
const bridge = createNeonBridge();
let sql: Sql;
let store: Store;
let statements = 0;

beforeAll(async () => {
  const counting: typeof bridge.fetch = (...request) => {
    statements++;
    return bridge.fetch(...request);
  };
  configureDatabases({ fetch: counting, timeoutMs: 10_000 });
  sql = openDatabase((await useStack().createCorner('schedules')).postgresUrl);
  await migrate(sql);
  store = openStore(sql);
});
afterAll(() => bridge.close());

const newId = () => mintMessageId({ setNumber: 1, shard: 0 }, Date.now());

async function newSchedule(name: string): Promise<ScheduleId> {
  const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
  const times = { cron: '0 9 * * *', timeZone: 'UTC' } as const;
  const message = { ...content, body: Buffer.from('x') };
  const id = scheduleOf(newId());
  await store.createSchedule(set, { id, owner: 'acme', name, missed: 'one', message, ...times });
  return id;
}

it('schedules are moved together, but none that was paused or whose lease is over', async () => {
  const names = ['goes on', 'ends', 'paused', 'stale'] as const;
  const ids = await Promise.all(names.map(newSchedule));
  const entries = await store.claim({ set, kind: 'schedule', limit: 10, leaseMs: 60_000 });
  expect(entries).toHaveLength(names.length);
  const entryOf = (id: ScheduleId | undefined) =>
    entries.find(({ refs }) => refs[0]?.slice(4) === id?.slice(4));
  const [, , paused, stale] = ids;
  if (paused) await store.changeSchedule(set, { id: paused, owner: 'acme', change: 'pause' });
  const nextMs = Date.parse('2030-01-01T09:00:00Z');
  const moves = ids.map((id, index) => {
    const { entry = '', token = '' } = entryOf(id) ?? {};
    const lease = { entry, token: id === stale ? '0' : token };
    const ran = [
      { tickMs: 1_000, message: newId() },
      { tickMs: 2_500, message: newId() },
    ];
    return { lease, id, ran, ...(names[index] === 'ends' ? {} : { nextMs }) };
  });
  statements = 0;
  await store.moveSchedules(moves);
  expect(statements).toBe(1);
  const rows = await sql`
    SELECT s.name, s.next_at, a.due_at, (SELECT count(*) FROM schedule_run r WHERE r.schedule_id = s.id)::int AS runs
    FROM schedule s LEFT JOIN agenda a ON a.refs = ARRAY[s.id] ORDER BY s.name`;
  const next = new Date(nextMs);
  expect(rows).toEqual([
    { name: 'ends', next_at: null, due_at: null, runs: 2 },
    { name: 'goes on', next_at: next, due_at: next, runs: 2 },
    { name: 'paused', next_at: null, due_at: null, runs: 0 },
    { name: 'stale', next_at: null, due_at: expect.any(Date) as Date, runs: 0 },
  ]);
  // The lease is over with the move: a copy that comes late changes nothing.
  await store.moveSchedules(moves.map((move) => ({ ...move, ran: [], nextMs: nextMs + 1 })));
  const [again] = await sql`SELECT next_at FROM schedule WHERE name = 'goes on'`;
  expect(again).toEqual({ next_at: next });
});
