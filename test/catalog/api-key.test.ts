import { describe, expect, it } from 'vitest';
import { mintApiKey, parseApiKey, verifyApiKey } from '../../shared/catalog/api-key.ts';
import { crc32 } from '../../shared/catalog/crc32.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const { text, key } = mintApiKey({ owner: 'shop', scopes: ['publish'] });

function parsed(keyText: string) {
  const parts = parseApiKey(keyText);
  if (!parts) throw new Error('not a key');
  return parts;
}

describe('an API key', () => {
  it('is kept as a hash and verified by its text', () => {
    expect(text).toMatch(/^sk_[0-9a-z]{12}_[0-9a-z]{46}$/);
    expect(JSON.stringify(key)).not.toContain(parsed(text).secret);
    expect(parsed(text).id).toBe(key.id);
    expect(verifyApiKey(parsed(text), key, nowMs)).toBe('valid');
  });

  it('is refused with any one character changed', () => {
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === 'a' ? 'b' : 'a';
      expect(parseApiKey(text.slice(0, at) + other + text.slice(at + 1))).toBeUndefined();
    }
  });

  it.each(['', 'sk_', text.slice(0, -1), `${text}a`, ` ${text}`, `${text}\n`, text.toUpperCase()])(
    'is not %j',
    (other) => {
      expect(parseApiKey(other)).toBeUndefined();
    },
  );

  it('does not open with the secret of another key', () => {
    const other = mintApiKey({ owner: 'shop', scopes: [] });
    expect(verifyApiKey(parsed(other.text), key, nowMs)).toBe('wrong-secret');
    expect(verifyApiKey(parsed(text), { ...key, secretHash: 'abc' }, nowMs)).toBe('wrong-secret');
  });

  it('ends when it is revoked or expires', () => {
    const expiresAt = '2026-01-01T00:00:00Z';
    expect(verifyApiKey(parsed(text), { ...key, revokedAt: expiresAt }, nowMs)).toBe('revoked');
    expect(verifyApiKey(parsed(text), { ...key, expiresAt }, nowMs - 1)).toBe('valid');
    expect(verifyApiKey(parsed(text), { ...key, expiresAt }, nowMs)).toBe('expired');
    expect(verifyApiKey(parsed(text), { ...key, expiresAt: 'soon' }, nowMs)).toBe('expired');
  });

  it('has the CRC-32 everybody knows', () => {
    expect(crc32('123456789')).toBe(0xcbf43926);
  });
});
