/**
 * Signatures of webhook calls by Standard Webhooks, versions v1 and v1a:
 *
 *     webhook-id         names the message; the same at every attempt
 *     webhook-timestamp  Unix seconds of this attempt
 *     webhook-signature  over `<id>.<timestamp>.<body>`, one per secret, separated by spaces:
 *                        `v1,<base64>` HMAC-SHA256 by a secret `whsec_`, `v1a,<base64>` Ed25519 by a key `whsk_`
 *
 * Bytes are signed, never a decoded text: a body that is not UTF-8 keeps its signature. During a rotation a call carries
 * a signature of each secret, so that receivers may change to the new one at any time. A symmetric secret is `whsec_` and
 * the base64 of 24 to 64 random bytes; receivers of an asymmetric one know its public key only (`whpk_`).
 *
 * Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { Buffer } from 'node:buffer';
import { timingSafeEqual } from 'node:crypto';
import { Problem } from '../problem.ts';
import {
  isAsymmetricSignature,
  readAsymmetricKey,
  signAsymmetric,
  strictBase64,
  type AsymmetricKey,
} from './asymmetric-key.ts';
import { hmacUnder, type Hmac } from './hmac.ts';

export interface SignatureHeaders {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

export interface Signing {
  /** Names the message; without a dot, which separates the signed parts. */
  readonly id: string;
  /** Unix seconds of this attempt. */
  readonly timestampSeconds: number;
  /** `whsec_…` and `whsk_…`, the newest first. */
  readonly secrets: readonly string[];
}

export interface Verification {
  /** `whsec_…`, `whpk_…` and `whsk_…`. */
  readonly secrets: readonly string[];
  /** Unix seconds. */
  readonly nowSeconds: number;
  /** How far the timestamp may be from now, both ways: replayed calls are refused. */
  readonly toleranceSeconds?: number;
}

const prefix = 'whsec_';
/** Five minutes: what the specification's libraries allow. */
const defaultToleranceSeconds = 300;
/** A header with more signatures than any rotation needs costs no more work than this. */
const maxSignatures = 16;

/**
 * The three headers for a body.
 * @throws Problem `invalid-settings` for a secret that is none
 * @example signWebhook(body, { id: 'msg_1', timestampSeconds: 1_760_000_000, secrets: ['whsec_…'] })
 */
export function signWebhook(body: Uint8Array, signing: Signing): SignatureHeaders {
  const { id, timestampSeconds, secrets } = signing;
  const signatures = secrets.map((secret) => signatureOf(keyOf(secret), `${id}.${timestampSeconds}.`, body));
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signatures.join(' '),
  };
}

/**
 * Returns if one signature was made with one of the secrets; takes the same time for a nearly right one as for a wrong one.
 * @param body the bytes as they came, before any decoding
 * @throws Problem `unauthenticated`, `invalid-settings` for a secret that is none
 */
export function verifyWebhook(
  body: Uint8Array,
  headers: { get(name: string): string | null },
  verification: Verification,
): void {
  const id = headers.get('webhook-id');
  const timestamp = headers.get('webhook-timestamp');
  const signatures = headers.get('webhook-signature');
  if (!id || !timestamp || !signatures) {
    throw refusal('The headers webhook-id, webhook-timestamp and webhook-signature are needed.');
  }
  checkTimestamp(timestamp, verification);
  const claimed = signatures.split(' ', maxSignatures).flatMap(claimOf);
  const isGenuine = verification.secrets.some((secret) =>
    isSignedBy(keyOf(secret), claimed, { head: `${id}.${timestamp}.`, body }),
  );
  if (!isGenuine) throw refusal('No signature was made with a secret of this webhook.');
}

/** Whether a text can serve to verify: `whsec_` and the base64 of 24 to 64 bytes, or an Ed25519 key `whpk_` or `whsk_`. */
export function isWebhookSecret(text: string): boolean {
  return readKey(text) !== undefined;
}

/** Whether a text can serve to sign: a public key alone cannot. */
export function isSigningSecret(text: string): boolean {
  const key = readKey(text);
  return key !== undefined && canSign(key);
}

/**
 * A new secret.
 * @param random 24 to 64 random bytes
 */
export function createWebhookSecret(random: Uint8Array = crypto.getRandomValues(new Uint8Array(32))): string {
  return prefix + Buffer.from(random).toString('base64');
}

/** A decoded secret. */
type Key = Hmac | AsymmetricKey;

/** Decoded keys by secret: every delivery signs, secrets are few. Emptied when full rather than grow without end. */
const keys = new Map<string, Key>();
const maxKeys = 10_000;

function keyOf(secret: string): Key {
  const known = keys.get(secret);
  if (known) return known;
  const key = readKey(secret);
  if (!key) {
    throw new Problem(
      'invalid-settings',
      'A webhook secret is "whsec_" and the base64 of 24 to 64 bytes, or a key like "whsk_" or "whpk_" and the base64 of 32 bytes.',
    );
  }
  if (keys.size >= maxKeys) keys.clear();
  keys.set(secret, key);
  return key;
}

function readKey(text: string): Key | undefined {
  if (!text.startsWith(prefix)) return readAsymmetricKey(text);
  const key = strictBase64(text.slice(prefix.length));
  return key && key.length >= 24 && key.length <= 64 ? hmacUnder(key) : undefined;
}

function canSign(key: Key): boolean {
  return typeof key === 'function' || key.secret !== undefined;
}

function signatureOf(key: Key, head: string, body: Uint8Array): string {
  if (typeof key === 'function') return `v1,${key(Buffer.from(head), body).toString('base64')}`;
  if (key.secret === undefined)
    throw new Problem('invalid-settings', 'A public key ("whpk_") signs nothing: the secret one is "whsk_".');
  return `v1a,${signAsymmetric(key.secret, joined(head, body)).toString('base64')}`;
}

interface Signed {
  readonly head: string;
  readonly body: Uint8Array;
}

function isSignedBy(key: Key, claims: readonly Claim[], { head, body }: Signed): boolean {
  const of = (wanted: Claim['version']) => claims.filter(({ version }) => version === wanted);
  if (typeof key === 'function') {
    const expected = key(Buffer.from(head), body);
    return of('v1').some(({ bytes }) => bytes.length === expected.length && timingSafeEqual(bytes, expected));
  }
  const claimed = of('v1a');
  if (claimed.length === 0) return false;
  const signed = joined(head, body);
  return claimed.some(({ bytes }) => isAsymmetricSignature(key.public, signed, bytes));
}

/** Ed25519 takes all at once. */
function joined(head: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(head), body]);
}

interface Claim {
  readonly version: 'v1' | 'v1a';
  readonly bytes: Buffer;
}

/** One `v1,…` or `v1a,…`; nothing for other versions. */
function claimOf(signature: string): readonly Claim[] {
  const [version, text = ''] = signature.split(',', 2);
  return version === 'v1' || version === 'v1a' ? [{ version, bytes: Buffer.from(text, 'base64') }] : [];
}

function checkTimestamp(timestamp: string, verification: Verification): void {
  if (!/^\d{1,12}$/.test(timestamp)) throw refusal('webhook-timestamp must be Unix seconds.');
  const toleranceSeconds = verification.toleranceSeconds ?? defaultToleranceSeconds;
  if (Math.abs(verification.nowSeconds - Number(timestamp)) > toleranceSeconds) {
    throw refusal('webhook-timestamp is too far from now. Check the clock, or it is a replayed call.');
  }
}

function refusal(detail: string): Problem {
  return new Problem('unauthenticated', detail);
}
