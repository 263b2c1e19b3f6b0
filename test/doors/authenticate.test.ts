import { describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import { openEdge } from './edge.ts';

const post = {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: '{"topic":"orders","body":1}',
};

function withHeader(authorization: string) {
  return { ...post, headers: { ...post.headers, authorization } };
}

describe('who may enter', () => {
  const { text } = mintApiKey({ owner: 'shop', scopes: ['publish'] });
  const typo = text.slice(0, -1) + (text.endsWith('a') ? 'b' : 'a');

  it.each([
    ['no header', post],
    ['an empty header', withHeader('')],
    ['another scheme', withHeader(`Basic ${text}`)],
    ['the key without a scheme', withHeader(text)],
    ['something else', withHeader('Bearer secret')],
    ['two keys', withHeader(`Bearer ${text} ${text}`)],
    ['a wrong checksum', withHeader(`Bearer ${typo}`)],
  ])('%s → 401 without asking the catalog', async (_, init) => {
    const edge = openEdge();
    const answer = await edge.send('/v1/messages', init);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(await answer.text()).not.toContain(text);
    expect(edge.catalogReads()).toBe(0);
    expect(edge.published).toEqual([]);
  });

  it.each(['api_key', 'apikey', 'access_token', 'key', 'anything'])(
    'a key in the query as %s → 401',
    async (name) => {
      const edge = openEdge();
      const key = edge.keyFor(['publish', 'read']);
      const answer = await edge.send(`/v1/sets/route?topic=orders&${name}=${key}`, { key });
      expect(answer.status).toBe(401);
      expect(edge.catalogReads()).toBe(0);
    },
  );

  it.each<[string, object]>([
    ['revoked', { revokedAt: '2020-01-01T00:00:00Z' }],
    ['expired', { expiresAt: '2020-01-01T00:00:00Z' }],
    ['of another secret', { secretHash: '0'.repeat(64) }],
  ])('a key %s → 401', async (_, more) => {
    const edge = openEdge();
    const answer = await edge.send('/v1/messages', { ...post, key: edge.keyFor(['publish'], more) });
    expect(answer.status).toBe(401);
    expect(edge.published).toEqual([]);
  });

  it('a key nobody knows → 401', async () => {
    expect((await openEdge().send('/v1/messages', { ...post, key: text })).status).toBe(401);
  });

  it('a key revoked after it was used → 401', async () => {
    const edge = openEdge();
    const key = edge.keyFor(['publish']);
    expect((await edge.send('/v1/messages', { ...post, key })).status).toBe(202);
    const { keys } = await edge.services.catalog.current();
    const id = key.split('_')[1] ?? '';
    const kept = keys.get(id);
    if (kept) (keys as Map<string, typeof kept>).set(id, { ...kept, revokedAt: '2020-01-01T00:00:00Z' });
    expect((await edge.send('/v1/messages', { ...post, key })).status).toBe(401);
  });

  it.each([
    ['/v1/messages', 'read', post],
    ['/v1/topics/orders/messages', 'manage', post],
    ['/v1/messages/msg_01h455vb4pex5vsknk084sn02q', 'publish', {}],
    ['/v1/sets', 'publish', {}],
    ['/v1/sets/route?topic=orders', 'publish', {}],
    ['/metrics', 'publish', {}],
  ] as const)('%s with the scope %s alone → 403', async (path, scope, init) => {
    const edge = openEdge();
    const answer = await edge.send(path, { ...init, key: edge.keyFor([scope]) });
    expect(answer.status).toBe(403);
    expect(answer.headers.get('www-authenticate')).toContain('insufficient_scope');
    expect(edge.published).toEqual([]);
  });

  it('the scheme may be written in any case', async () => {
    const edge = openEdge();
    expect((await edge.send('/v1/messages', withHeader(`bEARER ${edge.keyFor(['publish'])}`))).status).toBe(
      202,
    );
  });
});
