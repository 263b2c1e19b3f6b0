import { describe, expect, it } from 'vitest';
import { carryOver } from '../../shared/catalog/carry-over.ts';
import { sealSeed, type CatalogDocument } from '../../shared/catalog/document.ts';
import { parseSeed } from '../../shared/catalog/seed.ts';
import { createSealer } from '../../shared/sealed.ts';

const sealer = createSealer([new Uint8Array(32)]);
type Named = readonly [id: string, number: number, access?: 'managed'];

function catalogOf(...sets: readonly Named[]): CatalogDocument {
  const entries = sets.map(([id, number, access = 'given']) => ({
    id,
    number,
    access,
    kind: 'unit' as const,
    place: { latitude: 0, longitude: 0 },
    brokerUrls: [`amqp://broker/${id}`],
    databaseUrls: [`postgres://db/${id}`],
  }));
  return sealSeed(parseSeed({ sets: entries }), sealer);
}

describe('a seed applied over a catalog', () => {
  it('keeps SETs that the command line made, and drops those that only a seed named', () => {
    const before = catalogOf(['a', 1], ['gone', 2], ['made', 3, 'managed']);
    const after = carryOver(before, catalogOf(['a', 1]));
    expect(after.sets.map(({ id }) => id)).toEqual(['a', 'made']);
  });

  it('never gives a number twice, not even that of a SET long gone', () => {
    const first = carryOver(undefined, catalogOf(['a', 1], ['b', 2]));
    const second = carryOver(first, catalogOf(['a', 1]));
    expect(() => carryOver(second, catalogOf(['a', 1], ['c', 2]))).toThrow(/is or was the SET "b"/);
    expect(() => carryOver(second, catalogOf(['b', 1]))).toThrow(/is or was the SET "a"/);
    expect(carryOver(second, catalogOf(['a', 1], ['b', 2])).setNumbers).toEqual([
      { name: '1', set: 'a' },
      { name: '2', set: 'b' },
    ]);
  });

  it('reads catalogs of before, which remember no numbers', () => {
    const { setNumbers: _none, ...older } = catalogOf(['a', 1]);
    expect(() => carryOver(older, catalogOf(['b', 1]))).toThrow(/is or was the SET "a"/);
  });
});
