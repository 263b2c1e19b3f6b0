import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fromUuid,
  mintedAtMs,
  mintMessageId,
  originOf,
  parseMessageId,
  toUuid,
} from '../shared/identifier.ts';

const origin = fc.record({
  setNumber: fc.integer({ min: 0, max: 4095 }),
  shard: fc.integer({ min: 0, max: 63 }),
});
const instantMs = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const random = fc.uint8Array({ minLength: 7, maxLength: 7 });

describe('message ids', () => {
  it('are written as TypeID writes a UUIDv7', () => {
    // The specification's own example: https://github.com/jetify-com/typeid/tree/main/spec
    const uuid = '01890a5d-ac96-774b-bcce-b302099a8057';
    expect(fromUuid(uuid)).toBe('msg_01h455vb4pex5vsknk084sn02q');
    expect(toUuid(parseMessageId('msg_01h455vb4pex5vsknk084sn02q'))).toBe(uuid);
    expect(fromUuid('00000000-0000-0000-0000-000000000000')).toBe(`msg_${'0'.repeat(26)}`);
    expect(fromUuid('ffffffff-ffff-ffff-ffff-ffffffffffff')).toBe(`msg_7${'z'.repeat(25)}`);
  });

  it('are the same after any way through a database', () => {
    fc.assert(
      fc.property(fc.uuid({ version: 7 }), (uuid) => {
        expect(toUuid(fromUuid(uuid))).toBe(uuid);
      }),
    );
  });

  it('carry SET, shard and time, in a UUIDv7', () => {
    fc.assert(
      fc.property(origin, instantMs, random, (from, nowMs, bytes) => {
        const id = mintMessageId(from, nowMs, bytes);
        expect(parseMessageId(id)).toBe(id);
        expect(originOf(id)).toEqual(from);
        expect(mintedAtMs(id)).toBe(nowMs);
        expect(toUuid(id)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      }),
    );
  });

  it('sort by time as text and as UUID', () => {
    fc.assert(
      fc.property(origin, instantMs, instantMs, (from, a, b) => {
        fc.pre(a < b);
        const [first, second] = [mintMessageId(from, a), mintMessageId(from, b)];
        expect(first < second).toBe(true);
        expect(toUuid(first) < toUuid(second)).toBe(true);
      }),
    );
  });

  it('are all different, though made at once', () => {
    const made = Array.from({ length: 10_000 }, () =>
      mintMessageId({ setNumber: 1, shard: 0 }, 1_700_000_000_000),
    );
    expect(new Set(made).size).toBe(made.length);
  });

  it.each([
    '',
    '01h455vb4pex5vsknk084sn02q',
    'msg_01h455vb4pex5vsknk084sn02',
    'msg_01H455VB4PEX5VSKNK084SN02Q',
    'msg_81h455vb4pex5vsknk084sn02q',
    'msg_01h455vb4pex5vsknk084sn02u',
    'key_01h455vb4pex5vsknk084sn02q',
    'msg_01h455vb4pex5vsknk084sn02q\n',
  ])('%j names nothing', (text) => {
    expect(() => parseMessageId(text)).toThrow(/no message/);
  });
});
