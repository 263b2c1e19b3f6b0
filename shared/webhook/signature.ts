/**
 * Signatures of webhook calls by Standard Webhooks, version v1:
 *
 *     webhook-id         names the message; the same at every attempt
 *     webhook-timestamp  Unix seconds of this attempt
 *     webhook-signature  `v1,<base64>` of HMAC-SHA256 over `<id>.<timestamp>.<body>`; one per secret, separated by spaces
 *
 * Bytes are signed, never a decoded text: a body that is not UTF-8 keeps its signature. During a rotation a call carries
 * a signature of each secret, so that receivers may change to the new one at any time. A secret is `whsec_` and the
 * base64 of 24 to 64 random bytes.
 *
 * Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { Buffer } from 'node:buffer';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Problem } from '../problem.ts';

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
  /** The newest first. */
  readonly secrets: readonly string[];
}

export interface Verification {
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
  const signatures = secrets.map(
    (secret) => `v1,${digest(keyOf(secret), `${id}.${timestampSeconds}.`, body).toString('base64')}`,
  );
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
  const claimed = signatures.split(' ', maxSignatures).flatMap(digestOf);
  const isGenuine = verification.secrets.some((secret) => {
    const expected = digest(keyOf(secret), `${id}.${timestamp}.`, body);
    return claimed.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
  });
  if (!isGenuine) throw refusal('No signature was made with a secret of this webhook.');
}

/** Whether a text can serve as a secret: `whsec_` and the base64 of 24 to 64 bytes. */
export function isWebhookSecret(text: string): boolean {
  return decodeSecret(text) !== undefined;
}

/**
 * A new secret.
 * @param random 24 to 64 random bytes
 */
export function createWebhookSecret(random: Uint8Array = crypto.getRandomValues(new Uint8Array(32))): string {
  return prefix + Buffer.from(random).toString('base64');
}

/** Decoded keys by secret: every delivery signs, secrets are few. Emptied when full rather than grow without end. */
const keys = new Map<string, Buffer>();
const maxKeys = 10_000;

function keyOf(secret: string): Buffer {
  const known = keys.get(secret);
  if (known) return known;
  const key = decodeSecret(secret);
  if (!key) {
    throw new Problem('invalid-settings', 'A webhook secret is "whsec_" and the base64 of 24 to 64 bytes.');
  }
  if (keys.size >= maxKeys) keys.clear();
  keys.set(secret, key);
  return key;
}

/** Strict, because Buffer skips what is not base64 and would make a short key of a mistyped secret. */
function decodeSecret(text: string): Buffer | undefined {
  const encoded = text.slice(prefix.length);
  if (!text.startsWith(prefix) || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined;
  const key = Buffer.from(encoded, 'base64');
  const isWhole = key.toString('base64').replace(/=+$/, '') === encoded.replace(/=+$/, '');
  return isWhole && key.length >= 24 && key.length <= 64 ? key : undefined;
}

function digest(key: Buffer, head: string, body: Uint8Array): Buffer {
  return createHmac('sha256', key).update(head).update(body).digest();
}

/** The bytes of one `v1,…`; nothing for other versions. */
function digestOf(signature: string): Buffer[] {
  return signature.startsWith('v1,') ? [Buffer.from(signature.slice(3), 'base64')] : [];
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
