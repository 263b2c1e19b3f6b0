import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRateWindow, shareOf } from '../../shared/delivery/rate-window.ts';

describe('a rate', () => {
  it('holds in every span of its length, however the calls come', () => {
    const patience = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), patience, (limit, pauses) => {
        let nowMs = 0;
        const rate = { limit, per: 'second' } as const;
        const window = createRateWindow({ nowMs: () => nowMs });
        const began: number[] = [];
        for (const pauseMs of pauses) {
          nowMs += pauseMs;
          if (window.waitMs(rate) > 0) continue;
          window.began(rate);
          began.push(nowMs);
        }
        for (const fromMs of began)
          expect(began.filter((at) => at >= fromMs && at < fromMs + 1_000).length).toBeLessThanOrEqual(limit);
      }),
      { numRuns: 200 },
    );
  });

  it('is used up whole: whoever waits as long as it says may begin', () => {
    let nowMs = 0;
    const rate = { limit: 3, per: 'minute' } as const;
    const window = createRateWindow({ nowMs: () => nowMs });
    const began: number[] = [];
    for (let call = 0; call < 9; call++) {
      nowMs += window.waitMs(rate);
      window.began(rate);
      began.push(nowMs);
      nowMs += 1_000;
    }
    expect(began).toEqual([0, 1_000, 2_000, 60_000, 61_000, 62_000, 120_000, 121_000, 122_000]);
  });

  it('is shared by the hosts of a SET, and each may call at all', () => {
    expect([1, 2, 3].map((hosts) => shareOf({ limit: 10, per: 'second' }, hosts).limit)).toEqual([10, 5, 3]);
    expect(shareOf({ limit: 1, per: 'hour' }, 3).limit).toBe(1);
  });
});
