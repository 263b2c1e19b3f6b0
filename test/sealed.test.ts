import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSealer } from '../shared/sealed.ts';

const oldKey = new Uint8Array(32).fill(1);
const newKey = new Uint8Array(32).fill(2);

describe('sealed secrets', () => {
  it('come back as they were, and look different each time', () => {
    const sealer = createSealer([newKey]);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (plain) => {
        const sealed = sealer.seal(plain);
        expect(sealed).toMatch(/^sealed:v1:[A-Za-z0-9+/]+=*$/);
        expect(sealer.open(sealed)).toBe(plain);
        expect(sealer.seal(plain)).not.toBe(sealed);
      }),
    );
  });

  it('survive a rotation: the newest key seals, every key opens', () => {
    const sealed = createSealer([oldKey]).seal('secret');
    expect(createSealer([newKey, oldKey]).open(sealed)).toBe('secret');
    const resealed = createSealer([newKey, oldKey]).seal('secret');
    expect(createSealer([newKey]).open(resealed)).toBe('secret');
    expect(() => createSealer([oldKey]).open(resealed)).toThrow(/SETWAY_ENCRYPTION_KEYS/);
  });

  it('do not open when one bit was changed anywhere', () => {
    const sealer = createSealer([newKey]);
    const bytes = Buffer.from(sealer.seal('amqp://guest').slice('sealed:v1:'.length), 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => sealer.open(`sealed:v1:${changed.toString('base64')}`)).toThrow(/No key/);
    }
  });

  it('never pass for sealed when they are not, and need a key', () => {
    expect(() => createSealer([newKey]).open('amqp://guest')).toThrow(/not sealed/);
    expect(() => createSealer([newKey]).open('sealed:v1:')).toThrow(/No key/);
    expect(() => createSealer([])).toThrow(/SETWAY_ENCRYPTION_KEYS/);
  });
});
