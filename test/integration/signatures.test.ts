/** Signatures as independent receivers see them, and the keys of secrets at rest, rotated under a running deployment. */
import { execFile } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeyPair } from '../../shared/webhook/asymmetric-key.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';
import { at, areDeliveries, cities, createClient } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { directSettings } from '../stack/deployment.ts';
import { platforms } from '../stack/platform.ts';
import { repoDir } from '../stack/ports.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';

const json = { 'content-type': 'application/json' };
const pair = createKeyPair();
const symmetric = createWebhookSecret();

/** As a receiver would that knows the specification and not us. */
function isSignedByKey({ headers, body }: WebhookCall): boolean {
  const x = Buffer.from(pair.publicKey.slice('whpk_'.length), 'base64').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const head = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.`;
  return String(headers['webhook-signature'])
    .split(' ')
    .filter((signature) => signature.startsWith('v1a,'))
    .some((signature) =>
      verify(null, Buffer.concat([Buffer.from(head), body]), key, Buffer.from(signature.slice(4), 'base64')),
    );
}

function isSignedBySecret({ headers, body }: WebhookCall): boolean {
  // Throws when it is not. The library signs texts only.
  new Webhook(symmetric).verify(body.toString(), headers as Record<string, string>, { jsonParse: false });
  return true;
}

describe.each(platforms)('signatures on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'signatures', {
      listeners: {
        asymmetric: { bindings: ['#'], secrets: [pair.secretKey] },
        both: { bindings: ['#'], secrets: [symmetric, pair.secretKey] },
      },
    });
  });
  afterAll(() => scene.stop());

  it('are made by every secret a subscription has, and cover bytes that are no text', async () => {
    const headers = { 'content-type': 'application/octet-stream', 'setway-tag': 'x', ...at(cities.berlin) };
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const raw = await scene.client.post('/v1/topics/events/messages', bytes, headers);
    expect(raw.status, JSON.stringify(raw.body)).toBe(202);
    const text = await scene.client.publish({ topic: 'events', body: { a: 'ü' } }, at(cities.berlin));
    for (const { body } of [raw, text])
      await scene.client.message(body.id, areDeliveries('DONE', 'asymmetric', 'both'));
    for (const call of scene.receiver.calls) expect(isSignedByKey(call)).toBe(true);
    const [binary] = scene.receiver.callsOf(raw.body.id, '/both');
    expect(binary?.body.equals(bytes)).toBe(true);
    const [call] = scene.receiver.callsOf(text.body.id, '/both');
    expect(call && isSignedBySecret(call)).toBe(true);
  });

  it('the public keys of a subscription are shown, its secrets never', async () => {
    const { body } = await scene.operator.get<object>('/v1/subscriptions/both');
    expect(body).toMatchObject({ publicKeys: [pair.publicKey] });
    expect(JSON.stringify(body)).not.toContain('whsk_');
    const made = await scene.operator.post<object>(
      '/v1/subscriptions',
      JSON.stringify({
        name: 'public',
        topic: 'events',
        endpoint: { url: 'https://shop.example.com' },
        secrets: [pair.publicKey],
      }),
      json,
    );
    expect(made).toMatchObject({ status: 422 });
    expect(JSON.stringify(made.body)).toContain('whsk_');
  });
});

describe('the keys of secrets at rest', () => {
  let scene: Scene;

  beforeAll(async () => {
    const [, node] = platforms;
    if (!node) throw new Error('No Node.');
    scene = await openScene(node, 'reseal', { listeners: { plain: { headers: { 'x-token': 'hush' } } } });
  });
  afterAll(() => scene.stop());

  it('a new one in front seals everything again, and then serves alone', async () => {
    const [, node] = platforms;
    const old = scene.deployment.settings['SETWAY_ENCRYPTION_KEYS'] ?? '';
    const fresh = Buffer.alloc(32, 9).toString('base64');
    const settings = { ...scene.deployment.settings, ...directSettings(useStack()) };
    const reseal = (keys: string) =>
      promisify(execFile)(process.execPath, [path.join(repoDir, 'functions/cli/main.ts'), 'reseal'], {
        env: { ...process.env, ...settings, SETWAY_ENCRYPTION_KEYS: keys },
      });
    await expect(reseal(fresh)).rejects.toThrow(/SETWAY_ENCRYPTION_KEYS/);
    expect((await reseal(`${fresh},${old}`)).stdout).toMatch(/at version 2/);

    // Nothing that the old key sealed is left in the newest version, wherever it is copied to.
    for (const url of Object.values(scene.deployment.databaseUrls)) {
      const [row] = await query(url, 'SELECT version, document FROM catalog ORDER BY version DESC LIMIT 1');
      expect(Number(row?.['version'])).toBe(2);
    }
    const second = await node?.start(scene.deployment, { SETWAY_ENCRYPTION_KEYS: fresh });
    const client = createClient(second?.url ?? '', scene.deployment);
    await scene.server.stop();
    const message = { topic: 'events', tag: 'plain', body: 1 };
    const { body } = await client.publish(message, at(cities.berlin));
    await client.message(body.id, areDeliveries('DONE', 'plain'));
    expect(scene.receiver.callsOf(body.id)[0]?.headers).toMatchObject({ 'x-token': 'hush' });
    await second?.stop();
  });
});
