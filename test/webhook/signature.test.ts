import { createPublicKey, verify as verifyEd25519 } from 'node:crypto';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { createKeyPair, publicKeyOf } from '../../shared/webhook/asymmetric-key.ts';
import {
  createWebhookSecret,
  isSigningSecret,
  isWebhookSecret,
  signWebhook,
  verifyWebhook,
} from '../../shared/webhook/signature.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const newer = createWebhookSecret();
const body = Buffer.from('{"test": 2432232314}');
const at = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestampSeconds: 1_614_265_330 };

/** Verifies with everything right but what is changed. */
function verify(change: {
  body?: Uint8Array;
  secrets?: string[];
  nowSeconds?: number;
  headers?: Record<string, string>;
}) {
  const headers = new Headers({ ...signWebhook(body, { ...at, secrets: [secret] }), ...change.headers });
  verifyWebhook(change.body ?? body, headers, {
    secrets: change.secrets ?? [secret],
    nowSeconds: change.nowSeconds ?? at.timestampSeconds,
  });
}

const refused: unknown = expect.objectContaining({ kind: 'unauthenticated' });

describe('a signature', () => {
  it('is the one of the Standard Webhooks reference vector', () => {
    expect(signWebhook(body, { ...at, secrets: [secret] })).toEqual({
      'webhook-id': at.id,
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('is accepted by the standardwebhooks library, and the library’s is accepted here', () => {
    const library = new Webhook(secret);
    const timestampSeconds = Math.floor(Date.now() / 1_000);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.uuid(), (text, id) => {
        const bytes = Buffer.from(text);
        const ours = signWebhook(bytes, { id, timestampSeconds, secrets: [newer, secret] });
        library.verify(bytes.toString(), { ...ours }, { jsonParse: false });
        const theirs = library.sign(id, new Date(timestampSeconds * 1_000), text);
        const headers = new Headers({ ...ours, 'webhook-signature': theirs });
        verifyWebhook(bytes, headers, { secrets: [secret], nowSeconds: timestampSeconds });
        expect(ours['webhook-signature'].split(' ')[1]).toBe(theirs);
      }),
    );
  });

  it('covers the bytes: bodies that decode to the same text have different signatures', () => {
    const signatureOf = (bytes: number[]) =>
      signWebhook(Uint8Array.from(bytes), { ...at, secrets: [secret] })['webhook-signature'];
    expect(signatureOf([0xff])).not.toBe(signatureOf([0xfe]));
    expect(signatureOf([0xff])).not.toBe(signatureOf([0xef, 0xbf, 0xbd]));
    expect(() => verify({ body: Uint8Array.of(0xff) })).toThrow(refused);
  });

  it('of any bytes is accepted, and of none that differ in one bit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.nat(), (bytes, position) => {
        const headers = new Headers({ ...signWebhook(bytes, { ...at, secrets: [secret] }) });
        const verification = { secrets: [secret], nowSeconds: at.timestampSeconds };
        verifyWebhook(bytes, headers, verification);
        const changed = bytes.slice();
        const index = position % bytes.length;
        changed[index] = (changed[index] ?? 0) ^ (1 << (position % 8));
        expect(() => verifyWebhook(changed, headers, verification)).toThrow(refused);
      }),
    );
  });

  it('stays good through a rotation on either side', () => {
    const both = signWebhook(body, { ...at, secrets: [newer, secret] })['webhook-signature'];
    expect(both.split(' ')).toHaveLength(2);
    for (const secrets of [[secret], [newer], [newer, secret]]) {
      verify({ headers: { 'webhook-signature': both }, secrets });
    }
    verify({ secrets: [newer, secret] });
    expect(() => verify({ secrets: [newer] })).toThrow(refused);
  });

  it('beside ones of other versions or nonsense is found', () => {
    const good = signWebhook(body, { ...at, secrets: [secret] })['webhook-signature'];
    const headers = { 'webhook-signature': `v1a,AAAA v2,${good.slice(3)} v1, x ${good}` };
    expect(() => verify({ headers })).not.toThrow();
  });

  it.each([
    ['another body', { body: Buffer.from('{"test":2432232314}') }],
    ['an id that is not the signed one', { headers: { 'webhook-id': 'msg_other' } }],
    ['a timestamp that is not the signed one', { headers: { 'webhook-timestamp': '1614265331' } }],
    ['no id', { headers: { 'webhook-id': '' } }],
    ['no timestamp', { headers: { 'webhook-timestamp': '' } }],
    ['no signature', { headers: { 'webhook-signature': '' } }],
    ['a timestamp in hexadecimal', { headers: { 'webhook-timestamp': '0x60380000' } }],
    ['a negative timestamp', { headers: { 'webhook-timestamp': '-1614265330' } }],
    [
      'a version other than v1',
      { headers: { 'webhook-signature': 'v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=' } },
    ],
    ['half a signature', { headers: { 'webhook-signature': 'v1,g0hM9SsE+OTPJTGt' } }],
    ['an empty signature', { headers: { 'webhook-signature': 'v1,' } }],
    ['no secret to compare with', { secrets: [] }],
    ['a call that is 301 s old', { nowSeconds: at.timestampSeconds + 301 }],
    ['a call from 301 s in the future', { nowSeconds: at.timestampSeconds - 301 }],
  ])('is refused with %s', (_name, change) => {
    expect(() => verify(change)).toThrow(refused);
  });

  it('is accepted up to 300 s before and after', () => {
    for (const seconds of [-300, 300]) {
      expect(() => verify({ nowSeconds: at.timestampSeconds + seconds })).not.toThrow();
    }
  });

  it('costs no more for a header with thousands of signatures', () => {
    const good = signWebhook(body, { ...at, secrets: [secret] })['webhook-signature'];
    const headers = { 'webhook-signature': `${'v1,AAAA '.repeat(5_000)}${good}` };
    expect(() => verify({ headers })).toThrow(refused);
  });
});

describe('an asymmetric signature', () => {
  /** The vector of the reference library in Go: libraries/go/webhook_asymmetric_test.go. */
  const secretKey = 'whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=';
  const expected =
    'v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==';
  const pair = createKeyPair();
  const publicKey = publicKeyOf(secretKey) ?? '';

  it('is the one of the reference vector', () => {
    expect(signWebhook(body, { ...at, secrets: [secretKey] })['webhook-signature']).toBe(expected);
    verify({ headers: { 'webhook-signature': expected }, secrets: [publicKey] });
    verify({ headers: { 'webhook-signature': expected }, secrets: [secretKey] });
  });

  it('of any bytes is accepted, also as plain Ed25519, and of none that differ in one bit', () => {
    const raw = Buffer.from(pair.publicKey.slice('whpk_'.length), 'base64').toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw }, format: 'jwk' });
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.nat(), (bytes, position) => {
        const headers = new Headers({ ...signWebhook(bytes, { ...at, secrets: [pair.secretKey] }) });
        const verification = { secrets: [pair.publicKey], nowSeconds: at.timestampSeconds };
        verifyWebhook(bytes, headers, verification);
        const signature = Buffer.from(headers.get('webhook-signature')?.slice('v1a,'.length) ?? '', 'base64');
        const signed = Buffer.concat([Buffer.from(`${at.id}.${at.timestampSeconds}.`), bytes]);
        expect(verifyEd25519(null, signed, key, signature)).toBe(true);
        const changed = bytes.slice();
        const index = position % bytes.length;
        changed[index] = (changed[index] ?? 0) ^ (1 << (position % 8));
        expect(() => verifyWebhook(changed, headers, verification)).toThrow(refused);
      }),
      { numRuns: 30 },
    );
  });

  it('stands beside a symmetric one: each receiver finds its own', () => {
    const both = signWebhook(body, { ...at, secrets: [secret, secretKey] })['webhook-signature'];
    expect(both).toBe(`v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= ${expected}`);
    for (const secrets of [[secret], [publicKey], [pair.publicKey, publicKey]])
      verify({ headers: { 'webhook-signature': both }, secrets });
    expect(() => verify({ headers: { 'webhook-signature': both }, secrets: [pair.publicKey] })).toThrow(
      refused,
    );
    const library = new Webhook(secret);
    const timestampSeconds = Math.floor(Date.now() / 1_000);
    const now = signWebhook(body, { id: 'msg_1', timestampSeconds, secrets: [secretKey, secret] });
    expect(library.verify(body, { ...now })).toEqual({ test: 2432232314 });
  });

  it.each([
    ['the signature of the other scheme under its name', `v1,${expected.slice(4)}`],
    ['half of it', expected.slice(0, 40)],
    ['none', 'v1a,'],
    ['another one', `v1a,${Buffer.alloc(64, 7).toString('base64')}`],
  ])('is refused: %s', (_name, signature) => {
    const headers = { 'webhook-signature': signature };
    expect(() => verify({ headers, secrets: [publicKey, secret] })).toThrow(refused);
  });

  it('needs the secret key, written right', () => {
    const raw = Buffer.from(secretKey.slice(5), 'base64');
    const own = Buffer.from(publicKey.slice(5), 'base64');
    expect(isSigningSecret(secretKey)).toBe(true);
    expect(isSigningSecret(publicKey)).toBe(false);
    expect(isWebhookSecret(publicKey)).toBe(true);
    expect(() => signWebhook(body, { ...at, secrets: [publicKey] })).toThrow(/whsk_/);
    const long = `whsk_${Buffer.concat([raw, own]).toString('base64')}`;
    expect(signWebhook(body, { ...at, secrets: [long] })['webhook-signature']).toBe(expected);
    for (const text of [
      `whsk_${Buffer.concat([raw, raw]).toString('base64')}`,
      `whsk_${raw.subarray(1).toString('base64')}`,
      `whpk_${Buffer.concat([own, own]).toString('base64')}`,
      `${secretKey}A`,
      'whsk_',
    ])
      expect(isWebhookSecret(text)).toBe(false);
  });
});

describe('a secret', () => {
  it.each([24, 32, 64])('of %d bytes is taken', (length) => {
    expect(isWebhookSecret(createWebhookSecret(new Uint8Array(length)))).toBe(true);
  });

  it.each([
    ['', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_', 'whsec_short'],
    [`whsec_${Buffer.alloc(23).toString('base64')}`, `whsec_${Buffer.alloc(65).toString('base64')}`],
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n', `${secret}A`],
  ])('like %j is refused', (...texts) => {
    for (const text of texts) {
      expect(isWebhookSecret(text)).toBe(false);
      expect(() => signWebhook(body, { ...at, secrets: [text] })).toThrow(
        expect.objectContaining({ kind: 'invalid-settings' }),
      );
    }
  });

  it('is never part of a problem', () => {
    expect(() => signWebhook(body, { ...at, secrets: ['whsec_topsecret'] })).toThrow(/^(?!.*topsecret)/);
  });
});
