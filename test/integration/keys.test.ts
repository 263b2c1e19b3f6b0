/** API keys over HTTP: made, used, seen, ended; and never more than the one that made them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey, parseApiKey } from '../../shared/catalog/api-key.ts';
import { createClient, type Client } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

const json = { 'content-type': 'application/json' };
const deadlineMs = 20_000;

interface Key {
  readonly id: string;
  readonly key: string;
  readonly revokedAt: string | null;
  readonly expiresAt: string | null;
}

describe.each(platforms)('API keys on $name', (platform) => {
  let scene: Scene;
  const limited = mintApiKey({ owner: 'demo', scopes: ['publish', 'manage'] });
  const manager = mintApiKey({ owner: 'demo', scopes: ['manage'] });

  beforeAll(async () => {
    scene = await openScene(platform, 'keys', {
      listeners: { plain: {} },
      change: (seed) => ({
        ...seed,
        keys: [
          ...(seed.keys ?? []),
          { ...limited.key, scopes: [...limited.key.scopes], publishLimit: { limit: 1 } },
          { ...manager.key, scopes: [...manager.key.scopes] },
        ],
      }),
    });
  });
  afterAll(() => scene.stop());

  const make = (fields: object, by: Client = scene.operator) =>
    by.post<Key>('/v1/keys', JSON.stringify(fields), json);
  const using = (apiKey: string): Client => createClient(scene.server.url, { apiKey });
  const statusOf = async (apiKey: string): Promise<number> =>
    (await using(apiKey).publish({ topic: 'events', tag: 'plain', body: 1 })).status;
  const becomes = (apiKey: string, status: number) =>
    until(deadlineMs, async () => (await statusOf(apiKey)) === status);

  it('one that was made works, is shown without its secret, and ends for good when it is revoked', async () => {
    const made = await make({ scopes: ['publish'] });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    const { id, key } = made.body;
    expect(made.headers.get('location')).toBe(`/v1/keys/${id}`);
    expect(parseApiKey(key)?.id).toBe(id);
    await becomes(key, 202);
    // Nobody lost theirs by it.
    expect(await statusOf(scene.deployment.apiKey)).toBe(202);

    const listed = await scene.operator.get<{ readonly keys: readonly Key[] }>('/v1/keys?limit=100');
    expect(listed.body.keys.find((each) => each.id === id)).toMatchObject({
      scopes: ['publish'],
      revokedAt: null,
    });
    expect(JSON.stringify(listed.body)).not.toMatch(/secretHash|owner/);
    expect(JSON.stringify(listed.body)).not.toContain(parseApiKey(key)?.secret);

    const revoked = await scene.operator.post<Key>(`/v1/keys/${id}/revoke`, '');
    expect(revoked.status).toBe(200);
    await becomes(key, 401);
    const again = await scene.operator.post<Key>(`/v1/keys/${id}/revoke`, '');
    expect(again.body.revokedAt).toBe(revoked.body.revokedAt);
  });

  it('expires when it is told to, and may be deleted', async () => {
    const { body } = await make({ scopes: ['publish'] });
    await becomes(body.key, 202);
    const past = JSON.stringify({ expiresAt: '2020-01-01T00:00:00Z' });
    const changed = await scene.operator.send<Key>(`/v1/keys/${body.id}`, {
      method: 'PATCH',
      body: past,
      headers: json,
    });
    expect(changed).toMatchObject({ status: 200, body: { expiresAt: '2020-01-01T00:00:00Z' } });
    await becomes(body.key, 401);
    expect(await scene.operator.send(`/v1/keys/${body.id}`, { method: 'DELETE' })).toMatchObject({
      status: 200,
    });
    expect(await scene.operator.send(`/v1/keys/${body.id}`, { method: 'DELETE' })).toMatchObject({
      status: 404,
    });
  });

  it('many that are made at once all exist', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => make({ scopes: ['publish'] })));
    expect(made.map(({ status }) => status)).toEqual(Array(8).fill(201));
    await Promise.all(made.map(({ body }) => becomes(body.key, 202)));
  });

  it('makes none that may more than itself', async () => {
    const more = await make({ scopes: ['publish'] }, using(manager.text));
    expect(more.status).toBe(422);
    expect(JSON.stringify(more.body)).toContain('has no scope publish itself');
    expect(await make({ scopes: ['manage'], maySetPlace: true }, using(manager.text))).toMatchObject({
      status: 422,
    });
    expect(await make({ scopes: ['publish'] }, using(limited.text))).toMatchObject({ status: 403 });
    expect(await make({ scopes: ['publish'] }, scene.client)).toMatchObject({ status: 403 });
  });

  it('makes none that lives longer than itself, and prolongs none beyond that', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const brief = await make({ scopes: ['manage'], expiresAt });
    await until(
      20_000,
      async () => (await make({ scopes: ['manage'] }, using(brief.body.key))).status === 201,
    );
    const heir = await make({ scopes: ['manage'] }, using(brief.body.key));
    expect(heir.body.expiresAt).toBe(expiresAt);
    const later = new Date(Date.now() + 7_200_000).toISOString();
    const more = await make({ scopes: ['manage'], expiresAt: later }, using(brief.body.key));
    expect(more).toMatchObject({ status: 422, body: { errors: [{ at: '/expiresAt' }] } });
    for (const wanted of [null, later]) {
      const body = JSON.stringify({ expiresAt: wanted });
      const path = `/v1/keys/${brief.body.id}`;
      const answer = await using(brief.body.key).send(path, { method: 'PATCH', body, headers: json });
      expect(answer.status).toBe(422);
    }
  });

  it("another owner's key is none, and bad input changes nothing", async () => {
    const { body } = await make({ scopes: ['publish'] });
    await becomes(body.key, 202);
    for (const [path, init] of [
      [`/v1/keys/${body.id}`, {}],
      [`/v1/keys/${body.id}/revoke`, { method: 'POST' }],
      [`/v1/keys/${body.id}`, { method: 'DELETE' }],
    ] as const)
      expect(await scene.stranger.send(path, init)).toMatchObject({ status: 404 });
    for (const fields of [
      {},
      { scopes: [] },
      { scopes: ['root'] },
      { scopes: ['read'], owner: 'rival' },
      { scopes: ['read'], expiresAt: 'soon' },
    ])
      expect(await make(fields)).toMatchObject({ status: 422 });
    expect(await statusOf(body.key)).toBe(202);
  });
});
