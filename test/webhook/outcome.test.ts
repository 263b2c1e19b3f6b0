import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outcomeOf, parseRetryAfterMs } from '../../shared/webhook/outcome.ts';

const nowMs = Date.UTC(2026, 10, 21, 12, 0, 0);

function verdictOf(status: number, headers: Record<string, string> = {}) {
  return outcomeOf({ status, headers, excerpt: '' }, nowMs).verdict;
}

describe('the outcome of an answer', () => {
  it.each([
    [200, 'done'],
    [201, 'done'],
    [202, 'done'],
    [204, 'done'],
    [299, 'done'],
    [301, 'retry'],
    [302, 'retry'],
    [304, 'retry'],
    [307, 'retry'],
    [308, 'retry'],
    [400, 'dead'],
    [401, 'dead'],
    [403, 'dead'],
    [404, 'dead'],
    [405, 'dead'],
    [408, 'retry'],
    [409, 'retry'],
    [410, 'disable'],
    [413, 'dead'],
    [422, 'dead'],
    [425, 'retry'],
    [429, 'retry'],
    [499, 'dead'],
    [500, 'retry'],
    [502, 'retry'],
    [503, 'retry'],
    [504, 'retry'],
    [599, 'retry'],
  ])('%d is %s', (status, verdict) => {
    expect(verdictOf(status)).toBe(verdict);
  });

  it('is dead when the receiver says that another try is useless, unless it took the message or is gone', () => {
    const headers = { 'setway-non-retryable': '1' };
    expect([500, 503, 429, 302, 400].map((status) => verdictOf(status, headers))).toEqual(
      Array(5).fill('dead'),
    );
    expect(verdictOf(200, headers)).toBe('done');
    expect(verdictOf(410, headers)).toBe('disable');
    expect(verdictOf(500, { 'setway-non-retryable': '0' })).toBe('retry');
  });

  it('is a retry when there was no answer', () => {
    expect(outcomeOf({ error: 'connect ECONNREFUSED' }, nowMs)).toEqual({
      verdict: 'retry',
      status: null,
      error: 'connect ECONNREFUSED',
    });
  });

  it('keeps status and excerpt of a failure, nothing of a success', () => {
    expect(outcomeOf({ status: 500, headers: {}, excerpt: 'out of stock' }, nowMs)).toEqual({
      verdict: 'retry',
      status: 500,
      error: 'HTTP 500: out of stock',
    });
    expect(outcomeOf({ status: 404, headers: {}, excerpt: '' }, nowMs).error).toBe('HTTP 404');
    expect(outcomeOf({ status: 204, headers: {}, excerpt: '' }, nowMs)).toEqual({
      verdict: 'done',
      status: 204,
      error: null,
    });
  });

  it('honours Retry-After of a retry only', () => {
    const headers = { 'retry-after': '120' };
    expect(outcomeOf({ status: 503, headers, excerpt: '' }, nowMs).retryAfterMs).toBe(120_000);
    expect(
      outcomeOf({ status: 503, headers: { 'retry-after': ['7', '9'] }, excerpt: '' }, nowMs).retryAfterMs,
    ).toBe(7_000);
    for (const status of [200, 400, 410]) {
      expect(outcomeOf({ status, headers, excerpt: '' }, nowMs)).not.toHaveProperty('retryAfterMs');
    }
  });
});

describe('Retry-After', () => {
  it.each([
    ['5', 5_000],
    [' 5 ', 5_000],
    ['0', 1_000],
    ['86400', 86_400_000],
    ['86401', 86_400_000],
    ['31536000', 86_400_000],
    ['9'.repeat(99), 86_400_000],
    ['Sat, 21 Nov 2026 12:00:30 GMT', 30_000],
    ['Sat, 21 Nov 2026 11:00:00 GMT', 1_000],
    ['Sun, 21 Nov 2027 12:00:00 GMT', 86_400_000],
  ])('%j is %d ms', (value, ms) => {
    expect(parseRetryAfterMs(value, nowMs)).toBe(ms);
  });

  it.each([
    [undefined],
    [''],
    ['soon'],
    ['-5'],
    ['1.5'],
    ['0x10'],
    ['1e3'],
    ['5 s'],
    ['tomorrow'],
    ['2026-11-21T12:00:30Z'],
    ['Sat, 99 Nov 2026 12:00:30 GMT'],
    ['Sat, 21 Nov 2026 12:00:30 PST'],
    ['9'.repeat(1_000)],
  ])('%j is ignored', (value) => {
    expect(parseRetryAfterMs(value, nowMs)).toBeUndefined();
  });

  it('is between a second and a day or ignored, whatever a receiver sends', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.nat().map(String),
          fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
        ),
        (value) => {
          const ms = parseRetryAfterMs(value, nowMs);
          expect(ms === undefined || (ms >= 1_000 && ms <= 86_400_000)).toBe(true);
        },
      ),
    );
  });
});
