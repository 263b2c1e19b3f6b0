import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseInstantMs } from '../shared/instant.ts';

describe('an instant', () => {
  it('is read back from its written form, with any offset', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: -1439, max: 1439 }), (ms, offset) => {
        const local = new Date(ms + offset * 60_000).toISOString().slice(0, -1);
        const clock = `${Math.floor(Math.abs(offset) / 60)}`.padStart(2, '0');
        const minutes = `${Math.abs(offset) % 60}`.padStart(2, '0');
        expect(parseInstantMs(`${local}${offset < 0 ? '-' : '+'}${clock}:${minutes}`, '')).toBe(ms);
        expect(parseInstantMs(new Date(ms).toISOString(), '')).toBe(ms);
      }),
    );
  });

  it.each([
    ['1970-01-01T00:00:01Z', 1000],
    ['1970-01-01T00:00:01.5Z', 1500],
    // What waits for it must never be early.
    ['1970-01-01T00:00:00.000000001Z', 1],
    ['1970-01-01T00:00:00.999999999Z', 1000],
    ['2028-02-29T12:00:00+08:00', Date.UTC(2028, 1, 29, 4)],
  ])('%s is %d', (text, ms) => {
    expect(parseInstantMs(text, '')).toBe(ms);
  });

  it.each([
    '',
    'now',
    'infinity',
    'Infinity',
    '2026-02-30T10:00:00Z',
    '2026-13-01T10:00:00Z',
    '2027-02-29T10:00:00Z',
    '2026-00-10T10:00:00Z',
    '300000-01-01T00:00:00Z',
    '+300000-01-01T00:00:00Z',
    '2026-12-24',
    '2026-12-24T18:00:00',
    '2026-12-24T18:00Z',
    '2026-12-24t18:00:00Z',
    '2026-12-24T18:00:00z',
    '2026-12-24 18:00:00Z',
    '2026-12-24T24:00:00Z',
    '2026-12-24T18:60:00Z',
    '2026-12-31T23:59:60Z',
    '2026-12-24T18:00:00.Z',
    '2026-12-24T18:00:00.1234567890Z',
    '2026-12-24T18:00:00+24:00',
    '2026-12-24T18:00:00+8:00',
    ' 2026-12-24T18:00:00Z',
    '2026-12-24T18:00:00Z\n',
    '1798135200',
    'Thu, 24 Dec 2026 18:00:00 GMT',
  ])('%j is refused', (text) => {
    expect(() => parseInstantMs(text, '/deliverAt')).toThrow(
      expect.objectContaining({
        kind: 'invalid-request',
        extras: { faults: [expect.objectContaining({ at: '/deliverAt' })] },
      }),
    );
  });
});
