import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, defaultRetryDelaysMs, retryDelayMs } from '../shared/backoff.ts';

const randomNumber = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the retry schedule', () => {
  it('is 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h after the first try', () => {
    expect(defaultRetryDelaysMs).toEqual(
      [5, 30, 120, 600, 1_800, 7_200, 21_600].map((seconds) => seconds * 1_000),
    );
  });

  it('ends after the last delay', () => {
    expect(retryDelayMs(defaultRetryDelaysMs, 7, () => 0)).toBe(21_600_000);
    expect(retryDelayMs(defaultRetryDelaysMs, 8, () => 0)).toBeUndefined();
    expect(retryDelayMs([], 1, () => 0)).toBeUndefined();
  });

  it('is never early and at most a fifth late', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), randomNumber, (attempt, random) => {
        const delayMs = retryDelayMs(defaultRetryDelaysMs, attempt, () => random) ?? NaN;
        const scheduledMs = defaultRetryDelaysMs[attempt - 1] ?? NaN;
        expect(delayMs).toBeGreaterThanOrEqual(scheduledMs);
        expect(delayMs).toBeLessThanOrEqual(scheduledMs * 1.2);
      }),
    );
  });
});

describe('the backoff', () => {
  const backoff = { baseMs: 100, maxMs: 5_000 };

  it('doubles its bound up to the limit', () => {
    const bounds = [1, 2, 3, 4, 5, 6, 7, 8].map((attempt) => backoffMs(backoff, attempt, () => 1));
    expect(bounds).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  it('stays between half the bound and the bound, also after a million failures', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), randomNumber, (attempt, random) => {
        const delayMs = backoffMs(backoff, attempt, () => random);
        expect(delayMs).toBeGreaterThanOrEqual(50);
        expect(delayMs).toBeLessThanOrEqual(5_000);
      }),
    );
  });
});
