/** What the doors of transactions refuse, before anything is stored. */
import { describe, expect, it } from 'vitest';
import { mintMessageId, transactionOf } from '../../shared/identifier.ts';
import type { DecisionRequest, TransactionRecord } from '../../shared/sets/set-link.ts';
import { openEdge, unasked, type Links } from './edge.ts';

const json = { 'content-type': 'application/json' };
const home = transactionOf(mintMessageId({ setNumber: 2, shard: 0 }, 1_700_000_000_000));

const recordOf = (more: Partial<TransactionRecord> = {}): TransactionRecord => ({
  id: home,
  owner: 'shop',
  set: 'frankfurt',
  state: 'PREPARED',
  messages: [],
  checkUrl: null,
  checks: 0,
  lastCheckAt: null,
  lastCheck: null,
  nextCheckAt: null,
  preparedAt: '2026-01-01T00:00:00.000Z',
  decidedAt: null,
  decidedBy: null,
  ...more,
});

/** A SET that keeps one transaction, and notes what it was told. */
function keeping(record: TransactionRecord | undefined) {
  const told: string[] = [];
  let kept = record;
  return {
    told,
    link: {
      findTransaction: async () => kept,
      async decide({ decision, owner }: DecisionRequest) {
        told.push(decision);
        if (kept?.owner !== owner) return undefined;
        if (kept.state === 'PREPARED')
          kept = { ...kept, state: decision, decidedAt: '2026-01-01T00:00:01.000Z' };
        return kept;
      },
    },
  };
}

async function decide(links: Links, verb: 'commit' | 'rollback', id: string = home) {
  const edge = openEdge({}, links);
  const key = edge.keyFor(['publish']);
  const answer = await edge.send(`/v1/transactions/${id}/${verb}`, { method: 'POST', key });
  return { status: answer.status, body: (await answer.json()) as { state?: string; detail?: string } };
}

describe('preparing a transaction', () => {
  const good = { topic: 'orders', body: 1 };

  it.each([
    ['no message', { messages: [] }, '/messages'],
    [
      'more messages than one statement takes',
      { messages: Array.from({ length: 101 }, () => good) },
      '/messages',
    ],
    ['a message that breaks a rule', { messages: [good, { topic: 'orders' }] }, '/messages/1/body'],
    ['a mode', { messages: [{ ...good, mode: 'fast' }] }, '/messages/0/mode'],
    ['a field nobody knows', { messages: [good], checkURL: 'x' }, '/checkURL'],
    ['a check that comes at once', { messages: [good], firstCheckAfter: 0.5 }, '/firstCheckAfter'],
    ['a check that comes next week', { messages: [good], firstCheckAfter: '7d' }, '/firstCheckAfter'],
    ['a duration that is none', { messages: [good], firstCheckAfter: -1 }, '/firstCheckAfter'],
    [
      'a check of a topic without secrets',
      { messages: [good], checkUrl: 'https://bank.example.com/c' },
      '/checkUrl',
    ],
  ])('refuses %s', async (_what, body, pointer) => {
    const edge = openEdge({
      publisher: { ...unasked, publish: () => Promise.reject(new Error('not asked')) },
    });
    const key = edge.keyFor(['publish']);
    const answer = await edge.send('/v1/transactions', {
      method: 'POST',
      key,
      headers: json,
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(422);
    const { errors } = (await answer.json()) as { errors: readonly { at: string }[] };
    expect(errors.map(({ at }) => at)).toContain(pointer);
  });

  it.each([
    'http://bank.example.com/c',
    'https://127.0.0.1/c',
    'https://[::ffff:127.0.0.1]/c',
    'https://169.254.169.254/latest',
    'https://user@bank.example.com/c',
    'file:///etc/passwd',
    'nonsense',
  ])('refuses the check URL %s', async (checkUrl) => {
    const edge = openEdge();
    const key = edge.keyFor(['publish']);
    const body = JSON.stringify({ messages: [good], checkUrl });
    const answer = await edge.send('/v1/transactions', { method: 'POST', key, headers: json, body });
    expect(answer.status).toBe(422);
    expect((await edge.publishGood()).status).toBe(202);
  });
});

describe('deciding a transaction', () => {
  it('is answered 404 for one that is unknown, malformed or somebody else’s', async () => {
    expect(await decide({}, 'commit')).toMatchObject({ status: 404 });
    expect(await decide({}, 'commit', 'txn_1')).toMatchObject({ status: 404 });
    const foreign = keeping(recordOf({ owner: 'rival' }));
    expect(await decide({ frankfurt: foreign.link }, 'rollback')).toMatchObject({ status: 404 });
  });

  it('twice is answered 200, the opposite 409', async () => {
    const { link } = keeping(recordOf());
    const links = { frankfurt: link };
    expect(await decide(links, 'commit')).toMatchObject({ status: 200, body: { state: 'committed' } });
    expect(await decide(links, 'commit')).toMatchObject({ status: 200 });
    const opposite = await decide(links, 'rollback');
    expect(opposite).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('committed') as string },
    });
  });

  it('is told to every copy, as the SET of the id has decided it', async () => {
    const [spoken, copy] = [keeping(recordOf()), keeping(recordOf({ set: 'hangzhou' }))];
    const links = { frankfurt: spoken.link, hangzhou: copy.link };
    expect(await decide(links, 'commit')).toMatchObject({ status: 200 });
    expect(await decide(links, 'rollback')).toMatchObject({ status: 409 });
    expect(copy.told).toEqual(['COMMITTED', 'COMMITTED']);
  });

  it('is found where a failover has put it', async () => {
    const copy = keeping(recordOf({ set: 'center' }));
    const down = {
      decide: () => Promise.reject(new Error('away')),
      findTransaction: () => Promise.reject(new Error('away')),
    };
    expect(await decide({ center: copy.link }, 'commit')).toMatchObject({ status: 200 });
    expect(await decide({ center: copy.link, frankfurt: down }, 'commit')).toMatchObject({ status: 200 });
    expect(await decide({ frankfurt: down }, 'commit')).toMatchObject({ status: 503 });
  });
});
