/**
 * Secrets at rest: AES-256-GCM (NIST SP 800-38D) under a key from the settings. A sealed text is
 * `sealed:v1:` + base64(12 bytes nonce, 16 bytes tag, ciphertext). The first key seals, every key opens, so a key is
 * rotated by putting the new one in front.
 */
import { Buffer } from 'node:buffer';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Problem } from './problem.ts';

export interface Sealer {
  seal(plain: string): string;
  /** @throws Problem `invalid-settings` when no key opens it */
  open(sealed: string): string;
}

const prefix = 'sealed:v1:';

/** @param keys 32 bytes each, the newest first */
export function createSealer(keys: readonly Uint8Array[]): Sealer {
  const [newest] = keys;
  if (!newest)
    throw new Problem('invalid-settings', 'There is no encryption key. Set SETWAY_ENCRYPTION_KEYS.');
  return {
    seal(plain) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', newest, nonce);
      const ciphertext = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return prefix + Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64');
    },
    open(sealed) {
      if (!sealed.startsWith(prefix))
        throw new Problem('invalid-settings', 'A secret in the catalog is not sealed.');
      const bytes = Buffer.from(sealed.slice(prefix.length), 'base64');
      for (const key of keys) {
        const plain = openWith(key, bytes);
        if (plain !== undefined) return plain;
      }
      throw new Problem(
        'invalid-settings',
        'No key in SETWAY_ENCRYPTION_KEYS opens the secrets of the catalog.',
      );
    },
  };
}

function openWith(key: Uint8Array, bytes: Buffer): string | undefined {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(12, 28));
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
  } catch {
    return undefined; // sealed under another key: the caller tries the next one
  }
}
