import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutArray, cutLines, type ItemCutter, type ItemSink } from '../../shared/message/json-items.ts';

type Cut = (sink: ItemSink) => ItemCutter;

function cut(how: Cut, chunks: readonly Uint8Array[], maxItemBytes = 1e6): readonly string[] {
  const items: string[] = [];
  const onItem: ItemSink['onItem'] = (item) =>
    void items.push(item === 'too-long' ? item : Buffer.from(item).toString());
  const cutter = how({ maxItemBytes, onItem });
  for (const chunk of chunks) cutter.push(chunk);
  cutter.end();
  return items;
}

const whole = (how: Cut, text: string, maxItemBytes?: number) => cut(how, [Buffer.from(text)], maxItemBytes);

/** The text in pieces of these lengths, over and over. */
function inPieces(text: string, lengths: readonly number[]): readonly Uint8Array[] {
  const bytes = Buffer.from(text);
  const pieces: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

const values = fc.array(fc.jsonValue(), { maxLength: 8 });
const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

describe('cutting a body into its values', () => {
  it('gives back every value of an array, however the bytes arrive', () => {
    fc.assert(
      fc.property(values, lengths, fc.constantFrom(0, 1, 3), (given, sizes, indent) => {
        const items = cut(cutArray, inPieces(JSON.stringify(given, null, indent), sizes));
        expect(items.map((item) => JSON.parse(item) as unknown)).toEqual(JSON.parse(JSON.stringify(given)));
      }),
    );
  });

  it('gives back every line, however the bytes arrive', () => {
    fc.assert(
      fc.property(values, lengths, fc.constantFrom('\n', '\r\n', '\n\n'), (given, sizes, end) => {
        const text = given.map((value) => JSON.stringify(value) + end).join('');
        const items = cut(cutLines, inPieces(text, sizes));
        expect(items.map((item) => JSON.parse(item) as unknown)).toEqual(JSON.parse(JSON.stringify(given)));
      }),
    );
  });

  it('takes a last line that is not ended', () => {
    expect(whole(cutLines, '1\n2')).toEqual(['1', '2']);
  });

  it.each(['[]', ' [ ] \n', '[\n]'])('finds nothing in %j', (text) => {
    expect(whole(cutArray, text)).toEqual([]);
  });

  it.each([
    '',
    ' ',
    '{}',
    '1',
    '[1',
    '["]',
    String.raw`["\"]`,
    '[1]]',
    '[1] x',
    '[1,]',
    '[,1]',
    '[1,,2]',
    'x[1]',
  ])('refuses %j as an array', (text) => {
    expect(() => whole(cutArray, text)).toThrow(expect.objectContaining({ kind: 'invalid-json' }));
  });

  it('tells which value is too long and goes on with the next', () => {
    const long = JSON.stringify('x'.repeat(30));
    expect(whole(cutArray, `[1,${long},2]`, 31)).toEqual(['1', 'too-long', '2']);
    expect(whole(cutLines, `1\n${long}\n2`, 31)).toEqual(['1', 'too-long', '2']);
    expect(cut(cutArray, inPieces(`[1,${long},2]`, [3]), 32)).toEqual(['1', long, '2']);
  });
});
