/**
 * Keys of asymmetric signatures (v1a): Ed25519 (RFC 8032), written as `whsk_` and the base64 of the 32 bytes of the secret
 * key, and `whpk_` and the base64 of the 32 bytes of the public one. Secret keys of 64 bytes, which some libraries write
 * with the public one behind, are read as well.
 *
 * Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
 */
import { Buffer } from 'node:buffer';
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';

const secretPrefix = 'whsk_';
const publicPrefix = 'whpk_';
const keyBytes = 32;
/** What stands before the key in DER: PKCS #8 and SubjectPublicKeyInfo of Ed25519 (RFC 8410). */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex');
const spkiHead = Buffer.from('302a300506032b6570032100', 'hex');

export interface AsymmetricKey {
  /** Absent when only the public key is known. */
  readonly secret?: KeyObject;
  readonly public: KeyObject;
}

/** @returns undefined when the text is neither a `whsk_` nor a `whpk_` */
export function readAsymmetricKey(text: string): AsymmetricKey | undefined {
  if (text.startsWith(publicPrefix)) {
    const bytes = strictBase64(text.slice(publicPrefix.length));
    return bytes?.length === keyBytes ? { public: publicKeyFrom(bytes) } : undefined;
  }
  if (!text.startsWith(secretPrefix)) return undefined;
  const bytes = strictBase64(text.slice(secretPrefix.length));
  if (bytes?.length !== keyBytes && bytes?.length !== 2 * keyBytes) return undefined;
  const key = keyPairFrom(bytes.subarray(0, keyBytes));
  // A public half that is not its own would make signatures that nobody can verify.
  const isWhole = bytes.length === keyBytes || bytesOf(key.public).equals(bytes.subarray(keyBytes));
  return isWhole ? key : undefined;
}

/**
 * A new key pair: the secret signs and stays here, the public one is for receivers.
 * @param random 32 random bytes
 * @example const { secretKey, publicKey } = createKeyPair() // whsk_…, whpk_…
 */
export function createKeyPair(random: Uint8Array = crypto.getRandomValues(new Uint8Array(keyBytes))) {
  const bytes = Buffer.from(random);
  const publicKey = publicPrefix + bytesOf(keyPairFrom(bytes).public).toString('base64');
  return { secretKey: secretPrefix + bytes.toString('base64'), publicKey };
}

/** What receivers verify with; undefined when the text is no secret key. */
export function publicKeyOf(secretKey: string): string | undefined {
  const key = readAsymmetricKey(secretKey);
  return key?.secret && publicPrefix + bytesOf(key.public).toString('base64');
}

export function signAsymmetric(key: KeyObject, bytes: Uint8Array): Buffer {
  return sign(null, bytes, key);
}

export function isAsymmetricSignature(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify(null, bytes, key, signature);
}

function keyPairFrom(seed: Buffer): Required<AsymmetricKey> {
  const secret = createPrivateKey({ key: Buffer.concat([pkcs8Head, seed]), format: 'der', type: 'pkcs8' });
  return { secret, public: createPublicKey(secret) };
}

function publicKeyFrom(bytes: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([spkiHead, bytes]), format: 'der', type: 'spki' });
}

function bytesOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
}

/** Buffer skips what is not base64, and would make another key of a mistyped one. */
export function strictBase64(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '') ? bytes : undefined;
}
