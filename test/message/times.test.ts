import { describe, expect, it } from 'vitest';
import { readDraft, readRawDraft } from '../../shared/message/draft.ts';
import { Problem } from '../../shared/problem.ts';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const dayMs = 86_400_000;
const read = (times: object) => readDraft({ topic: 'orders', body: 1, ...times }, nowMs);
const readRaw = (headers: Record<string, string>) =>
  readRawDraft({ topic: 'orders', headers: Object.entries(headers), body: new Uint8Array() }, nowMs);

function faultsOf(attempt: () => unknown): readonly string[] {
  try {
    attempt();
    return [];
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'invalid-request') throw error;
    return (error.extras.faults ?? []).map(({ at }) => at);
  }
}

describe('the times of a message', () => {
  it.each<[object, object]>([
    [{}, {}],
    [{ deliverAfter: 1 }, { due: { afterMs: 1000 } }],
    [{ deliverAfter: 1.5 }, { due: { afterMs: 1500 } }],
    [{ deliverAfter: '10m' }, { due: { afterMs: 600_000 } }],
    // Beyond what one timer takes (2^31 ms).
    [{ deliverAfter: 2_147_484 }, { due: { afterMs: 2_147_484_000 } }],
    [{ deliverAfter: '366d' }, { due: { afterMs: 366 * dayMs } }],
    [{ deliverAt: '2026-11-21T12:00:10Z' }, { due: { atMs: nowMs + 10_000 } }],
    [{ deliverAt: '2027-11-21T12:00:00Z' }, { due: { atMs: nowMs + 365 * dayMs } }],
    // The past means at once.
    [{ deliverAt: '2020-01-01T00:00:00Z' }, { due: { atMs: Date.UTC(2020, 0, 1) } }],
    [{ expiresAfter: '1h' }, { expiresAtMs: nowMs + 3_600_000 }],
    [{ mode: 'fast', expiresAfter: '1h' }, { expiresAtMs: nowMs + 3_600_000 }],
    [
      { deliverAfter: 5, expiresAfter: 6 },
      { due: { afterMs: 5000 }, expiresAtMs: nowMs + 6000 },
    ],
  ])('%j are read', (given, wanted) => {
    const { due, expiresAtMs } = read(given);
    expect({ due, expiresAtMs }).toEqual({ due: undefined, expiresAtMs: undefined, ...wanted });
  });

  it.each<[object, string]>([
    [{ deliverAfter: -1 }, '/deliverAfter'],
    [{ deliverAfter: 0 }, '/deliverAfter'],
    [{ deliverAfter: 0.999 }, '/deliverAfter'],
    [{ deliverAfter: 1.0005 }, '/deliverAfter'],
    [{ deliverAfter: '1.5ms' }, '/deliverAfter'],
    [{ deliverAfter: '500ms' }, '/deliverAfter'],
    [{ deliverAfter: '0x10' }, '/deliverAfter'],
    [{ deliverAfter: '' }, '/deliverAfter'],
    [{ deliverAfter: true }, '/deliverAfter'],
    [{ deliverAfter: [5] }, '/deliverAfter'],
    [{ deliverAfter: null }, '/deliverAfter'],
    [{ deliverAfter: '367d' }, '/deliverAfter'],
    [{ deliverAfter: 1e300 }, '/deliverAfter'],
    [{ deliverAt: 'infinity' }, '/deliverAt'],
    [{ deliverAt: '2026-02-30T00:00:00Z' }, '/deliverAt'],
    [{ deliverAt: '300000-01-01T00:00:00Z' }, '/deliverAt'],
    [{ deliverAt: '2027-11-23T12:00:00Z' }, '/deliverAt'],
    [{ deliverAt: nowMs }, '/deliverAt'],
    [{ deliverAfter: 5, deliverAt: '2026-11-21T12:00:10Z' }, '/deliverAt'],
    [{ mode: 'fast', deliverAfter: 5 }, '/deliverAfter'],
    [{ mode: 'fast', deliverAt: '2026-11-21T12:00:10Z' }, '/deliverAt'],
    [{ expiresAfter: 0 }, '/expiresAfter'],
    [{ expiresAfter: 'soon' }, '/expiresAfter'],
    [{ deliverAfter: 5, expiresAfter: 5 }, '/expiresAfter'],
    [{ deliverAt: '2026-11-21T12:00:10Z', expiresAfter: 9 }, '/expiresAfter'],
  ])('%j are refused, naming %s', (given, at) => {
    expect(faultsOf(() => read(given))).toEqual([at]);
  });

  it('come as headers in the raw form', () => {
    expect(readRaw({ 'setway-deliver-after': '90', 'setway-expires-after': '2m' })).toMatchObject({
      due: { afterMs: 90_000 },
      expiresAtMs: nowMs + 120_000,
    });
    expect(readRaw({ 'setway-deliver-at': '2026-11-21T12:00:10Z' })).toMatchObject({
      due: { atMs: nowMs + 10_000 },
    });
  });

  it.each([
    [{ 'setway-deliver-after': '-1' }, 'Setway-Deliver-After'],
    [{ 'setway-deliver-after': '0x10' }, 'Setway-Deliver-After'],
    [{ 'setway-deliver-at': 'tomorrow' }, 'Setway-Deliver-At'],
    [{ 'setway-deliver-after': '5', 'setway-mode': 'fast' }, 'Setway-Deliver-After'],
    [{ 'setway-expires-after': '0' }, 'Setway-Expires-After'],
  ])('%j is refused by its header', (headers, at) => {
    expect(faultsOf(() => readRaw(headers))).toEqual([at]);
  });
});
