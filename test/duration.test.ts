import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDurationMs } from '../shared/duration.ts';
import { Problem } from '../shared/problem.ts';

const at = '/deliverAfter';

describe('a duration', () => {
  it.each([
    [0, 0],
    [-0, 0],
    [90, 90_000],
    [0.25, 250],
    [1.001, 1_001],
    ['90', 90_000],
    ['10m', 600_000],
    ['2h30m', 9_000_000],
    ['1d12h', 129_600_000],
    ['500ms', 500],
    ['5m5ms', 300_005],
    ['0s', 0],
    ['2147484s', 2_147_484_000],
  ])('%j is read as %d ms', (value, ms) => {
    expect(parseDurationMs(value, { at })).toBe(ms);
  });

  it.each([
    [-1],
    [0.0015],
    [Number.NaN],
    [Infinity],
    [1e300],
    [true],
    [null],
    [undefined],
    [[5]],
    [{}],
    [''],
    [' 5m'],
    ['5m '],
    ['0x10'],
    ['1e3'],
    ['1.5s'],
    ['-5s'],
    ['30m2h'],
    ['5m5m'],
    ['5 m'],
    ['5M'],
    ['m'],
    ['infinity'],
    ['１０m'],
    ['9'.repeat(16)],
    ['9'.repeat(17)],
    [`${'9'.repeat(60)}d`],
    [`${'1'.repeat(100_000)}`],
  ])('%j is refused and the fault names its place', (value) => {
    const attempt = () => parseDurationMs(value, { at });
    expect(attempt).toThrow(Problem);
    expect(attempt).toThrow(/\/deliverAfter is not a usable duration/);
  });

  it('that is too long is refused and the limit named', () => {
    const rule = { at, maxMs: 365 * 86_400_000 };
    expect(parseDurationMs('365d', rule)).toBe(rule.maxMs);
    expect(() => parseDurationMs('365d1ms', rule)).toThrow(/365d\./);
  });

  it('comes back from its written form, for every number of milliseconds', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ms) => {
        expect(parseDurationMs(formatDuration(ms), { at })).toBe(ms);
      }),
    );
  });

  it('in seconds comes back for every number of milliseconds up to a year', () => {
    fc.assert(
      fc.property(fc.nat({ max: 365 * 86_400_000 }), (ms) => {
        expect(parseDurationMs(ms / 1000, { at })).toBe(ms);
      }),
    );
  });

  it('is never anything but a whole number or a Problem, whatever comes in', () => {
    const outcome = (value: unknown): unknown => {
      try {
        return parseDurationMs(value, { at });
      } catch (error) {
        return error;
      }
    };
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const result = outcome(value);
        expect(result instanceof Problem || Number.isSafeInteger(result)).toBe(true);
      }),
    );
  });
});
