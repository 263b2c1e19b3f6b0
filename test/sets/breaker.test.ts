import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBreaker, defaultBreakerSettings } from '../../shared/sets/breaker.ts';

const settings = {
  failures: 3,
  windowMs: 10_000,
  openMs: { baseMs: 1_000, maxMs: 8_000 },
  probeMs: 5_000,
};

/** A breaker whose delays are the whole bound, with a clock to move. */
function world() {
  let nowMs = 1_000_000;
  const breaker = createBreaker({ clock: { nowMs: () => nowMs }, random: () => 1 }, settings);
  return {
    breaker,
    pass: (ms: number) => void (nowMs += ms),
    fail: (times: number) => {
      for (let count = 0; count < times; count++) breaker.failed('a');
    },
  };
}

describe('a breaker', () => {
  it('opens after three failures in a row, for that SET alone', () => {
    const { breaker, fail } = world();
    fail(2);
    expect(breaker.usable('a')).toBe(true);
    fail(1);
    expect(breaker.usable('a')).toBe(false);
    expect(breaker.usable('b')).toBe(true);
  });

  it('stays closed when a success comes between, or the failures are too far apart', () => {
    const { breaker, fail, pass } = world();
    fail(2);
    breaker.succeeded('a');
    fail(2);
    expect(breaker.usable('a')).toBe(true);
    pass(10_000);
    fail(2);
    expect(breaker.usable('a')).toBe(true);
  });

  it('lets one probe through when its delay is over, and no second one while the first is under way', () => {
    const { breaker, fail, pass } = world();
    fail(3);
    pass(999);
    expect(breaker.usable('a')).toBe(false);
    pass(1);
    expect(breaker.usable('a')).toBe(true);
    expect(breaker.usable('a')).toBe(true);
    breaker.began('a');
    expect(breaker.usable('a')).toBe(false);
  });

  it('lets another probe through when the first one is never heard of again', () => {
    const { breaker, fail, pass } = world();
    fail(3);
    pass(1_000);
    breaker.began('a');
    pass(4_999);
    expect(breaker.usable('a')).toBe(false);
    pass(1);
    expect(breaker.usable('a')).toBe(true);
  });

  it('closes when the probe succeeds, and forgets the past', () => {
    const { breaker, fail, pass } = world();
    fail(3);
    pass(1_000);
    breaker.began('a');
    breaker.succeeded('a');
    expect(breaker.usable('a')).toBe(true);
    fail(2);
    expect(breaker.usable('a')).toBe(true);
    fail(1);
    pass(1_000);
    expect(breaker.usable('a')).toBe(true);
  });

  it('doubles its delay with each failed probe, up to the limit', () => {
    const { breaker, fail, pass } = world();
    fail(3);
    for (const delayMs of [1_000, 2_000, 4_000, 8_000, 8_000]) {
      pass(delayMs - 1);
      expect(breaker.usable('a')).toBe(false);
      pass(1);
      expect(breaker.usable('a')).toBe(true);
      breaker.began('a');
      breaker.failed('a');
      expect(breaker.usable('a')).toBe(false);
    }
  });

  it('does not stay open longer because requests from before fail late', () => {
    const { breaker, fail, pass } = world();
    fail(3);
    pass(500);
    fail(20);
    pass(500);
    expect(breaker.usable('a')).toBe(true);
  });

  it('closes when a request from before succeeds after all', () => {
    const { breaker, fail } = world();
    fail(3);
    breaker.succeeded('a');
    expect(breaker.usable('a')).toBe(true);
  });

  it('is never shut for longer than its longest delay and one probe, whatever happened', () => {
    const events = fc.array(
      fc.oneof(fc.constantFrom('began', 'succeeded', 'failed'), fc.nat({ max: 20_000 })),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(events, (list) => {
        const { breaker, pass } = world();
        for (const event of list) {
          if (typeof event === 'number') pass(event);
          else breaker[event]('a');
        }
        pass(settings.openMs.maxMs + settings.probeMs);
        expect(breaker.usable('a')).toBe(true);
      }),
    );
  });

  it('by default opens within the ten seconds a failover may take', () => {
    expect(defaultBreakerSettings.failures * 2_000).toBeLessThan(10_000);
  });
});
