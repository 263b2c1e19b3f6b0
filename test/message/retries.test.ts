import { describe, expect, it } from 'vitest';
import { readDraft, readRawDraft } from '../../shared/message/draft.ts';
import { fromInbound, toOutbound } from '../../shared/message/envelope.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import type { Message } from '../../shared/message/message.ts';
import { Problem } from '../../shared/problem.ts';
import { waitAfterMs, timeoutOf } from '../../shared/subscriptions/delivery-policy.ts';

function retriesIn(retries: unknown) {
  return readDraft({ topic: 'orders', body: 1, retries }, 0).retries;
}

function retriesInHeader(text: string) {
  const headers: [string, string][] = [['Setway-Retries', text]];
  return readRawDraft({ topic: 'orders', headers, body: new Uint8Array() }, 0).retries;
}

function faultOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    return error instanceof Problem && error.kind === 'invalid-request' ? error.message : String(error);
  }
  return 'taken';
}

/** The waits of all tries, without jitter. */
function waits(subscription: Parameters<typeof waitAfterMs>[0], message: Pick<Message, 'retries'> = {}) {
  const waited: number[] = [];
  for (let attempt = 1; attempt <= 120; attempt++) {
    const ms = waitAfterMs(subscription, message, attempt, () => 0);
    if (ms === undefined) return waited;
    waited.push(ms);
  }
  return waited;
}

describe('the retries of a message', () => {
  it.each([
    [{ delays: ['5s', 60, '10m'] }, '5s, 60, 10m', { delaysMs: [5_000, 60_000, 600_000] }],
    [
      { kind: 'exponential', first: '5s', factor: 3, max: '1m', attempts: 5 },
      'exponential; first=5s; factor=3; max=1m; attempts=5',
      { delaysMs: [5_000, 15_000, 45_000, 60_000], maxAttempts: 5 },
    ],
    [{ attempts: 1, timeout: '250ms' }, 'attempts=1; timeout=250ms', { maxAttempts: 1, timeoutMs: 250 }],
    [{ first: '1s', attempts: 3 }, 'first=1s; attempts=3', { delaysMs: [1_000, 2_000], maxAttempts: 3 }],
  ])('%j and "%s" mean the same', (json, header, expected) => {
    expect(retriesIn(json)).toEqual(expected);
    expect(retriesInHeader(header)).toEqual(expected);
  });

  it.each([
    [{ delays: ['5x'] }, '/retries/delays'],
    [{ delays: ['31d'] }, '/retries/delays'],
    [{ delays: [] }, '/retries/delays'],
    [{ delays: Array.from({ length: 51 }, () => 1) }, '/retries/delays'],
    [{ delays: ['1s'], first: '1s' }, '/retries/delays'],
    [{ kind: 'exponential' }, '/retries/first'],
    [{ factor: 2 }, '/retries/first'],
    [{ first: '1s', factor: 11 }, '/retries/factor'],
    [{ kind: 'list' }, '/retries/delays'],
    [{ attempts: 0 }, '/retries/attempts'],
    [{ attempts: 101 }, '/retries/attempts'],
    [{ timeout: '6m' }, '/retries/timeout'],
    [{ timeout: true }, '/retries/timeout'],
    [{ atempts: 3 }, 'Did you mean "attempts"?'],
    ['5s', '/retries'],
  ])('%j is refused with the place', (retries, place) => {
    expect(faultOf(() => retriesIn(retries))).toContain(place);
  });

  it.each(['', 'soon', 'exponential', '5s; attempts=x', '5s; colour=blue', 'exponential; first=5s; 5s'])(
    'the header "%s" is refused by its name',
    (text) => expect(faultOf(() => retriesInHeader(text))).toContain('Setway-Retries'),
  );

  it('are refused for a fast message, which is tried once', () => {
    const draft = { topic: 'orders', body: 1, mode: 'fast', retries: { attempts: 2 } };
    expect(faultOf(() => readDraft(draft, 0))).toContain('/retries');
  });

  it('travel with the message, and cost others no header', () => {
    const plain: Message = {
      id: mintMessageId({ setNumber: 1, shard: 0 }, 1_760_000_000_000),
      owner: 'acme',
      topic: 'orders',
      mode: 'confirm',
      body: new Uint8Array(),
      contentType: 'text/plain',
      headers: {},
      acceptedAtMs: 0,
      placement: { set: 'hangzhou', reason: 'nearest' },
    };
    const given = { ...plain, retries: { delaysMs: [5, 10], maxAttempts: 9 } };
    const { routingKey, body, properties } = toOutbound(given);
    expect(fromInbound({ routingKey, body, properties, redelivered: false }).message).toEqual(given);
    expect(Object.keys(toOutbound(plain).properties.headers)).not.toContain('setway-retries');
  });
});

describe('the waits of a delivery', () => {
  const list = { retryDelaysMs: [1, 2, 3] };

  it('are those of the subscription, and end with them', () => {
    expect(waits(list)).toEqual([1, 2, 3]);
    expect(waits({ retryDelaysMs: [] })).toEqual([]);
  });

  it('repeat the last one until the tries are over, or end before', () => {
    expect(waits({ ...list, retries: { attempts: 6 } })).toEqual([1, 2, 3, 3, 3]);
    expect(waits({ ...list, retries: { attempts: 2 } })).toEqual([1]);
    expect(waits({ ...list, retries: { attempts: 1 } })).toEqual([]);
  });

  it('come from an expression in place of the list', () => {
    const retries = { kind: 'exponential', first: '1s', factor: 3, max: '20s', attempts: 6 } as const;
    expect(waits({ ...list, retries })).toEqual([1_000, 3_000, 9_000, 20_000, 20_000]);
    expect(waits({ ...list, retries: { first: '1h', factor: 10, attempts: 100 } })).toHaveLength(99);
  });

  it('are those of the message when it brings its own', () => {
    const subscription = { ...list, retries: { attempts: 9 } };
    expect(waits(subscription, { retries: { delaysMs: [7] } })).toEqual([7]);
    expect(waits(subscription, { retries: { maxAttempts: 3 } })).toEqual([1, 2]);
    expect(waits(subscription, { retries: { delaysMs: [7], maxAttempts: 4 } })).toEqual([7, 7, 7]);
    expect(waits(subscription, { retries: { timeoutMs: 5 } })).toHaveLength(8);
  });

  it('a message may shorten the time of a call, never lengthen it', () => {
    expect(timeoutOf({ timeoutMs: 500 }, { retries: { timeoutMs: 100 } })).toBe(100);
    expect(timeoutOf({ timeoutMs: 500 }, { retries: { timeoutMs: 900 } })).toBe(500);
    expect(timeoutOf({ timeoutMs: 500 }, {})).toBe(500);
  });
});
