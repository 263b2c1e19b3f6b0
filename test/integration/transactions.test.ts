/** Transactions end to end: nobody gets a message before the commit, everybody all of them after it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyWebhook, createWebhookSecret } from '../../shared/webhook/signature.ts';
import { areDeliveries, at, cities, type ProblemBody } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows, query } from '../stack/query.ts';
import { until } from '../stack/until.ts';

interface Prepared {
  readonly id: string;
  readonly state: string;
  readonly messages: readonly { readonly id: string }[];
  readonly set: string;
  readonly duplicate: boolean;
}

interface Transaction {
  readonly id: string;
  readonly state: string;
  readonly messages: readonly { readonly id: string; readonly topic: string; readonly state: string }[];
  readonly checks: number;
  readonly lastCheck: string | null;
  readonly nextCheckAt: string | null;
  readonly decidedBy: string | null;
}

const secret = createWebhookSecret();
const json = { 'content-type': 'application/json' };

describe.each(platforms)('transactions on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'txn', {
      listeners: { plain: {}, slow: { concurrency: 1, timeoutMs: 3_000 } },
      change: (seed) => ({
        ...seed,
        topics: seed.topics?.map((topic) =>
          topic.name === 'events' ? { ...topic, secrets: [secret] } : topic,
        ),
      }),
    });
  });
  afterAll(() => scene.stop());

  const prepare = async (
    body: Readonly<Record<string, unknown>>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Prepared> => {
    const answer = await scene.client.post<Prepared>('/v1/transactions', JSON.stringify(body), {
      ...json,
      ...at(cities.berlin),
      ...headers,
    });
    expect(answer).toMatchObject({ status: 202 });
    return answer.body;
  };
  const decide = (id: string, verb: 'commit' | 'rollback') =>
    scene.client.post<Transaction & ProblemBody>(`/v1/transactions/${id}/${verb}`, '');
  /** A SET that is busy for a moment is asked again, as a producer would. */
  const decideFirmly = (id: string, verb: 'commit' | 'rollback') =>
    until(20_000, async () => {
      const answer = await decide(id, verb);
      return answer.status === 503 ? undefined : answer;
    });
  const transaction = async (id: string): Promise<Transaction> =>
    (await scene.client.get<Transaction>(`/v1/transactions/${id}`)).body;
  const plain = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ topic: 'events', tag: 'plain', body: { index } }));
  const database = (): string => scene.deployment.databaseUrls['frankfurt'] ?? '';
  /** What the agenda would do later, it does now. */
  const makeDue = (kind: string) =>
    query(database(), 'UPDATE agenda SET due_at = now() WHERE kind = $1', [kind]);

  it('delivers all messages after the commit and none before it', async () => {
    const prepared = await prepare({ messages: plain(3) });
    expect(prepared).toMatchObject({ state: 'prepared', set: 'frankfurt', duplicate: false });
    expect(prepared.messages).toHaveLength(3);
    expect(prepared.id.slice(4)).toBe(prepared.messages[0]?.id.slice(4));
    expect(await transaction(prepared.id)).toMatchObject({ state: 'prepared', checks: 0, nextCheckAt: null });
    // What is published after it is delivered before it.
    const marker = await scene.client.publish({ topic: 'events', tag: 'plain', body: 1 }, at(cities.berlin));
    await scene.client.message(marker.body.id, areDeliveries('DONE', 'plain'));
    expect(prepared.messages.flatMap(({ id }) => scene.receiver.callsOf(id))).toEqual([]);

    const committed = await decide(prepared.id, 'commit');
    expect(committed).toMatchObject({ status: 200, body: { state: 'committed', decidedBy: 'producer' } });
    for (const { id } of prepared.messages) await scene.client.message(id, areDeliveries('DONE', 'plain'));
    const again = await decide(prepared.id, 'commit');
    expect(again).toMatchObject({ status: 200, body: { state: 'committed' } });
    const opposite = await decide(prepared.id, 'rollback');
    expect(opposite).toMatchObject({ status: 409, body: { type: '/problems/conflict' } });
    expect(prepared.messages.map(({ id }) => scene.receiver.callsOf(id).length)).toEqual([1, 1, 1]);
    expect(await countRows([database()], 'agenda', "kind = 'check'")).toBe(0);
  });

  it('delivers nothing after a rollback', async () => {
    const prepared = await prepare({ messages: plain(2) });
    expect(await decide(prepared.id, 'rollback')).toMatchObject({
      status: 200,
      body: { state: 'rolled_back' },
    });
    expect(await decide(prepared.id, 'rollback')).toMatchObject({ status: 200 });
    expect(await decide(prepared.id, 'commit')).toMatchObject({ status: 409 });
    const marker = await scene.client.publish({ topic: 'events', tag: 'plain', body: 1 }, at(cities.berlin));
    await scene.client.message(marker.body.id, areDeliveries('DONE', 'plain'));
    expect(prepared.messages.flatMap(({ id }) => scene.receiver.callsOf(id))).toEqual([]);
    expect((await transaction(prepared.id)).messages.map(({ state }) => state)).toEqual([
      'ROLLED_BACK',
      'ROLLED_BACK',
    ]);
  });

  it('is one transaction however often a prepare is repeated under its key', async () => {
    const key = { 'idempotency-key': `transfer-${scene.deployment.prefix}` };
    const first = await prepare({ messages: plain(2) }, key);
    const again = await prepare({ messages: plain(2) }, key);
    expect(again).toEqual({ ...first, duplicate: true });
    await decide(first.id, 'rollback');
  });

  it('asks the producer that stays silent, signed, and does what it says', async () => {
    scene.receiver.script('/check', [
      { status: 200, body: '{"state":"unknown"}' },
      { status: 200, body: '{"state":"committed"}' },
    ]);
    const prepared = await prepare({
      messages: plain(2),
      checkUrl: `${scene.receiver.url}/check`,
      firstCheckAfter: 1,
    });
    // The host's own clock comes for the first one.
    await until(20_000, async () => (await transaction(prepared.id)).checks === 1);
    const asked = await transaction(prepared.id);
    expect(asked).toMatchObject({ state: 'prepared', lastCheck: 'unknown' });
    expect(Date.parse(asked.nextCheckAt ?? '')).toBeGreaterThan(Date.now());
    await makeDue('check');
    await scene.server.runCron('* * * * *');
    await until(20_000, async () => (await transaction(prepared.id)).state === 'committed');
    for (const { id } of prepared.messages) await scene.client.message(id, areDeliveries('DONE', 'plain'));
    expect(await transaction(prepared.id)).toMatchObject({ decidedBy: 'check' });
    const calls = scene.receiver.calls.filter(({ path }) => path === '/check');
    expect(new Set(calls.map(({ headers }) => headers['webhook-id'])).size).toBe(calls.length);
    for (const { headers, body } of calls) {
      const get = (name: string) => String(headers[name]);
      verifyWebhook(body, { get }, { secrets: [secret], nowSeconds: Date.now() / 1000 });
      expect(JSON.parse(body.toString())).toEqual({
        transaction: prepared.id,
        messages: prepared.messages.map(({ id }) => ({ id, topic: 'events' })),
      });
    }
  });

  it('takes no other answer for a decision, and parks what nobody knows', async () => {
    scene.receiver.script('/garbage', [
      { status: 200, body: '<html>committed</html>' },
      { status: 200, body: '{"state":"committed","sure":true}' },
      { status: 500, body: '{"state":"committed"}' },
      { status: 302, headers: { location: `${scene.receiver.url}/check` } },
      { status: 200, body: `{"state":"rolled_back"}${' '.repeat(70_000)}x` },
      { status: 200, body: '{"state":"COMMITTED"}' },
    ]);
    const prepared = await prepare({
      messages: plain(1),
      checkUrl: `${scene.receiver.url}/garbage`,
      firstCheckAfter: 1,
    });
    await until(60_000, async () => {
      await makeDue('check');
      await scene.server.runCron('* * * * *');
      return (await transaction(prepared.id)).checks >= 6;
    });
    // Every further answer of the receiver is an empty 200; nobody waits for all of them.
    for (const url of Object.values(scene.deployment.databaseUrls))
      await query(url, "UPDATE transaction SET checks = 13 WHERE state = 'PREPARED'");
    await until(60_000, async () => {
      await makeDue('check');
      await scene.server.runCron('* * * * *');
      return (await transaction(prepared.id)).state !== 'prepared';
    });
    const parked = await transaction(prepared.id);
    expect(parked).toMatchObject({ state: 'check_exhausted', checks: 15, nextCheckAt: null });
    expect(parked.messages).toMatchObject([{ state: 'CHECK_EXHAUSTED' }]);
    expect(prepared.messages.flatMap(({ id }) => scene.receiver.callsOf(id))).toEqual([]);
    // Its producer may still decide.
    expect(await decide(prepared.id, 'commit')).toMatchObject({ status: 200 });
    await scene.client.message(prepared.messages[0]?.id ?? '', areDeliveries('DONE', 'plain'));
  }, 90_000);

  it('lets one of a hundred decisions win, and says the same to all', async () => {
    const prepared = await Promise.all(Array.from({ length: 10 }, () => prepare({ messages: plain(2) })));
    const outcomes = await Promise.all(
      prepared.map(async ({ id }) => {
        const verbs = Array.from({ length: 10 }, (_, turn) => (turn % 2 === 0 ? 'commit' : 'rollback'));
        const answers = await Promise.all(
          verbs.map(async (verb) => ({ verb, ...(await decideFirmly(id, verb)) })),
        );
        return new Set(answers.map(({ verb, status }) => (status === 200 ? verb : `not ${verb}`)));
      }),
    );
    for (const [index, said] of outcomes.entries()) {
      const isCommitted = said.has('commit');
      expect([...said].toSorted()).toEqual(
        isCommitted ? ['commit', 'not rollback'] : ['not commit', 'rollback'],
      );
      const { messages } = prepared[index] ?? { messages: [] };
      if (isCommitted)
        for (const { id } of messages) await scene.client.message(id, areDeliveries('DONE', 'plain'));
      expect(messages.map(({ id }) => scene.receiver.callsOf(id).length)).toEqual(
        isCommitted ? [1, 1] : [0, 0],
      );
    }
  });

  it('delivers a committed message before a backlog of normal ones', async () => {
    const backlog = 200;
    scene.receiver.script('/slow', ['never']);
    const publish = (index: number) =>
      scene.client.publish({ topic: 'events', tag: 'slow', body: { index } }, at(cities.berlin));
    await Promise.all(Array.from({ length: backlog }, (_, index) => publish(index)));
    // The one slot is taken by a call that is never answered; the rest waits.
    await scene.receiver.waitFor((calls) => calls.some(({ path }) => path === '/slow'), 20_000);
    const prepared = await prepare({ messages: [{ topic: 'events', tag: 'slow', body: 'first' }] });
    const [first] = prepared.messages;
    await decideFirmly(prepared.id, 'commit');
    const slowCalls = () => scene.receiver.calls.filter(({ path }) => path === '/slow');
    const before = slowCalls().length;
    await scene.client.message(first?.id ?? '', areDeliveries('DONE', 'slow'), 30_000);
    // It travels through the broker while the next normal one may begin.
    const turn = slowCalls().findIndex(({ headers }) => headers['webhook-id'] === first?.id);
    expect(turn - before).toBeLessThanOrEqual(2);
  });
});
