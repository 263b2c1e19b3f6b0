/** Claims that are fair among subscriptions, and keys that one host at a time has at work. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import type { Rooms } from '../../shared/agenda/agenda.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import { useStack } from '../stack/current-stack.ts';

const set = 'hangzhou';

describe('due work of many subscriptions', () => {
  const bridge = createNeonBridge();
  let sql: Sql;
  let store: Store;

  beforeAll(async () => {
    configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
    sql = openDatabase((await useStack().createCorner('fair')).postgresUrl);
    store = openStore(sql);
    await migrate(sql);
  });
  afterAll(() => bridge.close());

  /** Entries of one subscription, the oldest first. */
  const add = (subscription: string, count: number, dueInSeconds = 0): Promise<unknown> =>
    sql`INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
      SELECT 'redeliver', ${set}, ARRAY[gen_random_uuid()], ${subscription},
        now() + make_interval(secs => ${dueInSeconds} - 60 + n / 1000.0)
      FROM generate_series(1, ${count}) AS n`;
  const claim = async (limit: number, rooms: Rooms): Promise<Readonly<Record<string, number>>> => {
    const entries = await store.claim({ set, kind: 'redeliver', limit, leaseMs: 60_000, rooms });
    const counts = Map.groupBy(entries, ({ subscription }) => subscription ?? '');
    return Object.fromEntries([...counts].map(([name, { length }]) => [name, length]));
  };

  it('a subscription with a long backlog leaves the others their room, and one without room is left alone', async () => {
    await add('slow', 1_000);
    for (const name of ['a', 'b', 'c']) await add(name, 3);
    await add('later', 3, 120);
    expect(await claim(100, { each: 10, except: { slow: 4, b: 0 } })).toEqual({ a: 3, c: 3, slow: 4 });
    // Nobody has claimed for good what others may claim now.
    expect(await claim(100, { each: 10, except: { slow: 0 } })).toEqual({ b: 3 });
    expect(await claim(7, { each: 10, except: {} })).toEqual({ slow: 7 });
  });

  it('the next entry that falls due is one of those that have room', async () => {
    const next = (rooms: Rooms) => store.nextDueInMs(set, ['redeliver'], rooms);
    expect(await next({ each: 1, except: {} })).toBeLessThan(0);
    const laterMs = await next({ each: 1, except: { slow: 0 } });
    expect(laterMs).toBeGreaterThan(10_000);
    expect(laterMs).toBeLessThan(70_000);
    expect(await next({ each: 0, except: {} })).toBeUndefined();
  });

  it('two at once claim nothing twice', async () => {
    await add('shared', 50);
    const rooms = { each: 0, except: { shared: 40 } };
    const claims = await Promise.all([claim(100, rooms), claim(100, rooms)]);
    expect(claims.reduce((sum, counts) => sum + (counts['shared'] ?? 0), 0)).toBeLessThanOrEqual(50);
    const left = await claim(100, { each: 0, except: { shared: 100 } });
    const total = [...claims, left].reduce((sum, counts) => sum + (counts['shared'] ?? 0), 0);
    expect(total).toBe(50);
  });

  it('a key is held by one host until that gives it back or its time is over', async () => {
    const mail = { subscription: 'mail', key: 'user-1' };
    const other = { subscription: 'mail', key: 'user-2' };
    const held = (key: typeof mail, host: string, forMs = 60_000) =>
      store.holdKeys([{ ...key, forMs }], host).then(([isHeld]) => isHeld);
    expect(await held(mail, 'one')).toBe(true);
    expect(await held(mail, 'two')).toBe(false);
    expect(await held({ subscription: 'sms', key: 'user-1' }, 'two')).toBe(true);
    await store.releaseKeys([mail], 'two');
    expect(await held(mail, 'two')).toBe(false);
    await store.releaseKeys([mail], 'one');
    expect(await held(mail, 'two')).toBe(true);
    expect(await held(other, 'one', -1)).toBe(true);
    expect(
      await store.holdKeys(
        [mail, other].map((key) => ({ ...key, forMs: 60_000 })),
        'two',
      ),
    ).toEqual([true, true]);
  });

  it('of many hosts that want one key at once, one gets it', async () => {
    const wanted = [{ subscription: 'mail', key: 'crowd', forMs: 60_000 }];
    const hosts = Array.from({ length: 10 }, (_, n) => `host-${n}`);
    const held = await Promise.all(hosts.map((host) => store.holdKeys(wanted, host)));
    expect(held.flat().filter(Boolean)).toHaveLength(1);
  });
});
