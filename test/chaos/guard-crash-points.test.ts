/**
 * The README's table of races, line by line: a consumer dies before or after each thing it awaits, its lease ends while
 * the handler runs, Redis is emptied in mid-flight. Each test is named after its line, and says how often the effect was
 * had: once wherever the README says so.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { upstashRequester, type UpstashRequester } from '../../functions/node/upstash-bridge.ts';
import { webhookHandler, type WebhookHandler } from '../../shared/consumer/consumer.ts';
import { signedRequest } from '../../shared/consumer/testing.ts';
import { createFallbackGuard } from '../../shared/idempotency/fallback-guard.ts';
import type { Guard } from '../../shared/idempotency/guard.ts';
import { once, processedMessageTable } from '../../shared/idempotency/once.ts';
import { createPostgresGuard, guardTable } from '../../shared/idempotency/postgres-guard.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import type { SqlRunner } from '../../shared/idempotency/sql.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { secret } from '../consumer/signed-request.ts';
import { startPrivateStack } from '../stack/current-stack.ts';
import type { Stack } from '../stack/stack.ts';
import { until } from '../stack/until.ts';
import { liveUntil, mortal, type Life, type Moment } from './mortal.ts';

let stack: Stack;
let requester: UpstashRequester;
let pool: pg.Pool;
let sql: SqlRunner;

beforeAll(async () => {
  // Its own Redis: one of the tests empties it.
  stack = await startPrivateStack();
  requester = upstashRequester(stack.redisUrl);
  await stack.createDatabase('races');
  pool = new pg.Pool({ connectionString: stack.postgresUrl('races'), max: 16 });
  await pool.query(`${guardTable}${processedMessageTable}CREATE TABLE effect (id text NOT NULL);`);
  sql = (text, params) => pool.query(text, [...params]);
});
afterAll(async () => {
  await pool?.end();
  await requester?.close();
  await stack?.stop();
});

const leaseMs = 300;
const subscription = 'races';
const newId = () => `msg_${crypto.randomUUID()}`;
const requestOf = (id: string, body: unknown = { id }) => signedRequest({ secret, id, body });
const forever = new Promise<never>(() => {});

async function effectsOf(id: string): Promise<number> {
  const { rows } = await pool.query<{ n: number }>('SELECT count(*)::int AS n FROM effect WHERE id = $1', [
    id,
  ]);
  return rows[0]?.n ?? 0;
}

const ways = {
  'Redis alone': () => createRedisGuard(connectRedis({ requester })),
  'Redis before the database': () =>
    createFallbackGuard({
      redis: createRedisGuard(connectRedis({ requester })),
      database: createPostgresGuard(sql),
    }),
} as const;
type Way = keyof typeof ways;

const effect: WebhookHandler = async ({ id }) => void (await sql('INSERT INTO effect VALUES ($1)', [id]));

/** A consumer process: its guard and its effect are steps of its life. */
function consumer(
  guard: Guard,
  { life = liveUntil(), handle = effect }: { life?: Life; handle?: WebhookHandler } = {},
) {
  const steps = ['reserve', 'renew', 'complete', 'release', 'run'];
  const { run } = mortal({ run: handle }, 'handler', { life, steps });
  const mortalGuard = mortal(guard, 'guard', { life, steps });
  return webhookHandler({ secrets: [secret], subscription, guard: mortalGuard, leaseMs }, run);
}

/** Setway tries again until the answer is 200. */
async function delivered(handle: (request: Request) => Promise<Response>, id: string): Promise<Response> {
  return until(10_000, async () => {
    const response = await handle(requestOf(id));
    return response.status === 200 && response;
  });
}

describe.each(Object.keys(ways) as Way[])('guard: %s', (way) => {
  const guard = () => ways[way]();

  const deaths = (['guard.reserve', 'handler.run', 'guard.complete'] as const).flatMap((step) =>
    (['before', 'after'] as const).map((moment: Moment) => ({ step, moment })),
  );
  it.each(deaths)('a crash $moment $step', async ({ step, moment }) => {
    const id = newId();
    const life = liveUntil({ step, moment });
    void consumer(guard(), { life })(requestOf(id));
    await life.over;
    await delivered(consumer(guard()), id);
    // "a crash after the effect, before "done" is noted": the one line where the guard alone is not enough.
    const isTheGap =
      `${moment} ${step}` === 'after handler.run' || `${moment} ${step}` === 'before guard.complete';
    expect(await effectsOf(id)).toBe(isTheGap ? 2 : 1);
  });

  it('two deliveries of one message at once: one runs, the other is answered 409', async () => {
    const id = newId();
    const { handle, go } = held();
    const count = 10;
    let answered = 0;
    const answers = await Promise.all(
      Array.from({ length: count }, async () => {
        const response = await consumer(guard(), { handle })(requestOf(id));
        if (++answered === count - 1) go();
        return response.status;
      }),
    );
    expect(answers.toSorted((a, b) => a - b)).toEqual([200, ...Array.from({ length: count - 1 }, () => 409)]);
    expect(await effectsOf(id)).toBe(1);
  });

  it('a copy after the handler is done: answered 200 without running it', async () => {
    const id = newId();
    await delivered(consumer(guard()), id);
    const copy = await consumer(guard())(requestOf(id));
    expect([copy.status, copy.headers.get('setway-duplicate')]).toEqual([200, '1']);
    expect(await effectsOf(id)).toBe(1);
  });

  it('the handler fails: the next try runs it', async () => {
    const id = newId();
    const failing = consumer(guard(), { handle: () => Promise.reject(new Error('no')) });
    expect((await failing(requestOf(id))).status).toBe(500);
    expect((await consumer(guard())(requestOf(id))).status).toBe(200);
    expect(await effectsOf(id)).toBe(1);
  });

  it('the same id with another body: refused, 422', async () => {
    const id = newId();
    await delivered(consumer(guard()), id);
    expect((await consumer(guard())(requestOf(id, { other: true }))).status).toBe(422);
    expect(await effectsOf(id)).toBe(1);
  });

  it('a handler that takes longer than its lease: renewed, no copy runs beside it', async () => {
    const id = newId();
    const { handle, begun, go } = held();
    const running = consumer(guard(), { handle })(requestOf(id));
    await begun;
    const endMs = performance.now() + leaseMs * 3;
    await until(10_000, async () => {
      expect((await consumer(guard())(requestOf(id))).status).toBe(409);
      return performance.now() > endMs;
    });
    go();
    expect((await running).status).toBe(200);
    expect(await effectsOf(id)).toBe(1);
  });

  it('a handler whose lease is lost: told by its signal, and heeding it has no second effect', async () => {
    const id = newId();
    const lost = Promise.withResolvers<undefined>();
    const own = guard();
    // The guard cannot be asked any more: nobody renews.
    const cut: Guard = { ...own, renew: () => Promise.reject(new Error('cut off')) };
    const heeding: WebhookHandler = async (_message, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      lost.resolve(undefined);
      throw new Error('stopped before its effect');
    };
    void consumer(cut, { handle: heeding })(requestOf(id));
    await lost.promise;
    await delivered(consumer(guard()), id);
    expect(await effectsOf(id)).toBe(1);
  });

  it('Redis loses its data in mid-flight: bare Redis runs again, with the database behind it no', async () => {
    const id = newId();
    const { handle, begun, go } = held();
    const first = consumer(guard(), { handle })(requestOf(id));
    await begun;
    await requester.request({ body: ['FLUSHALL'] });
    const copy = await consumer(guard())(requestOf(id));
    go();
    expect((await first).status).toBe(200);
    expect(copy.status).toBe(way === 'Redis alone' ? 200 : 409);
    expect(await effectsOf(id)).toBe(way === 'Redis alone' ? 2 : 1);
  });

  it('Redis loses its data after done: bare Redis runs again, with the database behind it no', async () => {
    const id = newId();
    await delivered(consumer(guard()), id);
    await requester.request({ body: ['FLUSHALL'] });
    expect((await consumer(guard())(requestOf(id))).status).toBe(200);
    expect(await effectsOf(id)).toBe(way === 'Redis alone' ? 2 : 1);
  });
});

describe('once: the unique row in the handler’s transaction', () => {
  /** @param dies after that many statements nothing of the process has any effect, and its connection breaks */
  function transactional(dies = Infinity): {
    handle: (request: Request) => Promise<Response>;
    over: Promise<void>;
  } {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    let left = dies;
    const handler: WebhookHandler = async (message) => {
      const client = await pool.connect();
      const run: SqlRunner = async (text, params) => {
        if (left-- > 0) return client.query(text, [...params]);
        client.release(new Error('The process died.'));
        resolve();
        return forever;
      };
      try {
        return await once(run, message, (inside) => inside('INSERT INTO effect VALUES ($1)', [message.id]));
      } finally {
        if (left >= 0) client.release();
      }
    };
    return { handle: webhookHandler({ secrets: [secret], subscription, guard: 'handler' }, handler), over };
  }

  // BEGIN, the row, the effect, the check, COMMIT: it dies after none … four of them.
  it.each([0, 1, 2, 3, 4])('a crash after %i statements: effect and note are one commit', async (dies) => {
    const id = newId();
    const dying = transactional(dies);
    void dying.handle(requestOf(id));
    await dying.over;
    expect(await effectsOf(id)).toBe(0);
    await delivered(transactional().handle, id);
    expect(await effectsOf(id)).toBe(1);
  });

  it('an effect whose outcome the handler never heard: the retry finds out', async () => {
    const id = newId();
    const deaf = webhookHandler({ secrets: [secret], subscription, guard: 'handler' }, async (message) => {
      const client = await pool.connect();
      const run: SqlRunner = async (text, params) => {
        const answer = await client.query(text, [...params]);
        if (text === 'COMMIT') throw new Error('The answer is lost.');
        return answer;
      };
      try {
        return await once(run, message, (inside) => inside('INSERT INTO effect VALUES ($1)', [message.id]));
      } finally {
        client.release(true);
      }
    });
    expect((await deaf(requestOf(id))).status).toBe(500);
    const again = await transactional().handle(requestOf(id));
    expect([again.status, again.headers.get('setway-duplicate')]).toEqual([200, '1']);
    expect(await effectsOf(id)).toBe(1);
  });

  it('two deliveries at once, a copy, another body: one effect', async () => {
    const id = newId();
    const { handle } = transactional();
    const answers = await Promise.all(Array.from({ length: 10 }, () => handle(requestOf(id))));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect((await handle(requestOf(id, { other: true }))).status).toBe(422);
    expect(await effectsOf(id)).toBe(1);
  });

  it('the handler fails: nothing was committed; the next try runs it', async () => {
    const id = newId();
    const failing = webhookHandler({ secrets: [secret], subscription, guard: 'handler' }, async (message) => {
      const client = await pool.connect();
      const run: SqlRunner = (text, params) => client.query(text, [...params]);
      try {
        return await once(run, message, async (inside) => {
          await inside('INSERT INTO effect VALUES ($1)', [message.id]);
          throw new Error('no');
        });
      } finally {
        client.release();
      }
    });
    expect((await failing(requestOf(id))).status).toBe(500);
    expect(await effectsOf(id)).toBe(0);
    await delivered(transactional().handle, id);
    expect(await effectsOf(id)).toBe(1);
  });
});

/** The effect, once it may go. */
function held() {
  const begun = Promise.withResolvers<undefined>();
  const gone = Promise.withResolvers<undefined>();
  const handle: WebhookHandler = async (message, context) => {
    begun.resolve(undefined);
    await gone.promise;
    await effect(message, context);
  };
  return { handle, begun: begun.promise, go: () => gone.resolve(undefined) };
}
