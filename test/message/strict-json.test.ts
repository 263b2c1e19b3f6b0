import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Problem } from '../../shared/problem.ts';
import { maxJsonDepth, maxJsonMembers, readStrictJson } from '../../shared/message/strict-json.ts';

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const members = (count: number) =>
  JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i])));

function kindOf(bytes: Uint8Array | string): string {
  try {
    readStrictJson(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
    return 'accepted';
  } catch (error) {
    if (error instanceof Problem) return error.kind;
    throw error;
  }
}

describe('the strict JSON reader', () => {
  it.each<[string, string | Uint8Array]>([
    ['nothing', ''],
    ['spaces', '  '],
    ['a cut object', '{"a":'],
    ['a trailing comma', '{"a":1,}'],
    ['single quotes', "{'a':1}"],
    ['a comment', '{"a":1} // one'],
    ['NaN', '{"a":NaN}'],
    ['a raw NUL', '{"a":"\0"}'],
    ['a byte order mark', '\ufeff{}'],
    ['a broken UTF-8 sequence', Buffer.from([0x22, 0xff, 0x22])],
    ['an overlong UTF-8 sequence', Buffer.from([0x22, 0xc0, 0xaf, 0x22])],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['UTF-16', Buffer.from('{}', 'utf16le')],
  ])('refuses %s as no JSON', (_, bytes) => {
    expect(kindOf(bytes)).toBe('invalid-json');
  });

  it('names a byte order mark, which nobody sees', () => {
    expect(() => readStrictJson(Buffer.from('\ufeff{}'))).toThrow('byte order mark');
  });

  it.each<[string, string]>([
    ['one level too many', nested(maxJsonDepth + 1)],
    ['a million levels', nested(1_000_000)],
    ['a million levels that never end', '['.repeat(1_000_000)],
    ['one member too many', members(maxJsonMembers + 1)],
    ['100,000 members', members(100_000)],
    ['__proto__ as a key', '{"a":{"__proto__":{"admin":true}}}'],
    ['__proto__ as an escaped key', String.raw`{"\u005f_proto__":1}`],
    ['constructor as a key', '[{"constructor":1}]'],
    ['a number that becomes infinite', '{"a":1e400}'],
    ['a negative number that becomes infinite', '{"a":-1.5e999}'],
    ['the first integer that is not exact', '{"a":9007199254740992}'],
    ['a negative integer that is not exact', '{"a":-9007199254740993}'],
    ['an integer of 500 digits', `{"a":${'7'.repeat(500)}}`],
    ['a lone high surrogate', String.raw`{"a":"\ud800"}`],
    ['a lone low surrogate in a key', String.raw`{"\udc00":1}`],
    ['two members of one name', '{"a":1,"a":2}'],
    ['two members of one name, deep', String.raw`[{"b":{"a":1,"\u0061":2}}]`],
  ])('refuses %s as a broken rule', (_, text) => {
    expect(kindOf(text)).toBe('invalid-request');
  });

  it.each<[string, string]>([
    ['the deepest document', nested(maxJsonDepth)],
    ['the most members', members(maxJsonMembers)],
    ['the largest exact integers', '[9007199254740991,-9007199254740991]'],
    ['a long fraction', '[0.12345678901234567890,1.7976931348623157e308,1e-400]'],
    [
      'brackets, colons and numbers inside strings',
      String.raw`{"a":"[[{{::1e400\"\\","b\":9007199254740993":1}`,
    ],
    ['a surrogate pair', String.raw`["\ud83d\ude00"]`],
    ['one name in two objects', '[{"a":1},{"a":1}]'],
  ])('takes %s', (_, text) => {
    expect(readStrictJson(Buffer.from(text))).toEqual(JSON.parse(text));
  });

  it('never quotes the body in its answer', () => {
    expect(() => readStrictJson(Buffer.from('{"password": hunter2}'))).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter') as string }),
    );
  });

  it('agrees with JSON.parse on every document within the limits', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8, noUnicodeString: false }), (text) => {
        fc.pre(kindOf(text) !== 'invalid-request');
        expect(readStrictJson(Buffer.from(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  it('answers any bytes with a value or a Problem', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(['accepted', 'invalid-json', 'invalid-request']).toContain(kindOf(bytes));
      }),
    );
  });
});
