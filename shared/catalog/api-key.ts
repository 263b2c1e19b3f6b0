/**
 * API keys. The text a client holds:
 *
 *     sk_<id: 12>_<secret: 39><checksum: 7>        digits of 5 bits (Crockford base32, lower case)
 *
 * The id names the key, the secret has 192 random bits, and the checksum is the CRC-32 of everything before it, so a
 * typo or a cut is refused without asking anyone. Kept is only SHA-256 of the secret; it is compared in constant time
 * on every request (hashing 39 characters takes less than a microsecond, so there is nothing to remember and nothing
 * to forget when a key is revoked).
 */
import { Buffer } from 'node:buffer';
import { hash, timingSafeEqual } from 'node:crypto';
import { crc32 } from './crc32.ts';
import type { PublishLimit } from './publish-limit.ts';

/** `consume`: pull messages, and say what became of them. */
export type Scope = 'publish' | 'read' | 'consume' | 'manage';

/** An API key as kept: never the secret, only its hash. */
export interface ApiKey {
  /** Public part, between prefix and secret: names the key in logs and lists. */
  readonly id: string;
  readonly owner: string;
  /** SHA-256 of the secret part, lower-case hex. The secret has 192 random bits, so a slow hash would add nothing. */
  readonly secretHash: string;
  readonly scopes: readonly Scope[];
  /** May send coordinates of the publisher (`Setway-Latitude`, `Setway-Longitude`). */
  readonly maySetPlace: boolean;
  /** RFC 3339, or null for no expiry. */
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
  /** How much it may publish; without it, as much as the SETs take. */
  readonly publishLimit?: PublishLimit | undefined;
}

/** A key text whose checksum is right. */
export interface ParsedApiKey {
  readonly id: string;
  readonly secret: string;
}

export type Verification = 'valid' | 'wrong-secret' | 'revoked' | 'expired';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const written = /^sk_([0-9a-hjkmnp-tv-z]{12})_([0-9a-hjkmnp-tv-z]{39})([0-9a-hjkmnp-tv-z]{7})$/;
const idLength = 12;
const secretLength = 39;
const checksumLength = 7;

/**
 * A new key: the text is shown once and never kept.
 * @param random 51 random bytes; one per character, of which 5 bits are used
 * @example const { text, key } = mintApiKey({ owner: 'shop', scopes: ['publish'] })
 */
export function mintApiKey(
  grant: Pick<ApiKey, 'owner' | 'scopes'> & Partial<Pick<ApiKey, 'maySetPlace' | 'expiresAt'>>,
  random: Uint8Array = crypto.getRandomValues(new Uint8Array(idLength + secretLength)),
): { readonly text: string; readonly key: ApiKey } {
  const digits = Array.from(random, (byte) => alphabet[byte & 31]).join('');
  const id = digits.slice(0, idLength);
  const secret = digits.slice(idLength, idLength + secretLength);
  const unchecked = `sk_${id}_${secret}`;
  const key: ApiKey = {
    id,
    owner: grant.owner,
    secretHash: hashOf(secret),
    scopes: grant.scopes,
    maySetPlace: grant.maySetPlace ?? false,
    expiresAt: grant.expiresAt ?? null,
    revokedAt: null,
  };
  return { text: unchecked + checksumOf(unchecked), key };
}

/** The parts of a key text; undefined when it is none or its checksum is wrong. Asks nobody. */
export function parseApiKey(text: string): ParsedApiKey | undefined {
  const [, id, secret, checksum] = written.exec(text) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  return checksum === checksumOf(`sk_${id}_${secret}`) ? { id, secret } : undefined;
}

/**
 * Whether the secret is the key's and the key is still good. Constant time in the secret; a revoked or expired key is
 * called so only to whoever has its secret.
 */
export function verifyApiKey(parsed: ParsedApiKey, key: ApiKey, nowMs: number): Verification {
  const kept = Buffer.from(key.secretHash);
  const offered = Buffer.from(hashOf(parsed.secret));
  if (kept.length !== offered.length || !timingSafeEqual(kept, offered)) return 'wrong-secret';
  if (key.revokedAt !== null) return 'revoked';
  // An instant that cannot be read must not make a key eternal: NaN fails the comparison.
  if (key.expiresAt !== null && !(nowMs < Date.parse(key.expiresAt))) return 'expired';
  return 'valid';
}

/** Lower-case hex: a quarter of the time that bytes take. */
function hashOf(secret: string): string {
  return hash('sha256', secret);
}

/** 32 bits as 7 digits, the first of them holding 2 bits. */
function checksumOf(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let count = 0; count < checksumLength; count++) {
    digits = (alphabet[rest & 31] ?? '') + digits;
    rest >>>= 5;
  }
  return digits;
}
