import { describe, expect, it } from 'vitest';
import { openEdge } from './edge.ts';

describe('the list of SETs', () => {
  it('shows health, status and weight, and no URL', async () => {
    const edge = openEdge({ isUsable: (set) => set !== 'frankfurt' });
    const answer = await edge.send('/v1/sets', { key: edge.keyFor(['read']) });
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({
      version: 7,
      sets: [
        { id: 'hangzhou', number: 1, status: 'active', weight: 1, health: 'unknown', breaker: 'closed' },
        { id: 'frankfurt', breaker: 'open' },
        { id: 'center', kind: 'center' },
      ],
    });
    expect(text).not.toContain('://');
  });
});

describe('the explanation of a route', () => {
  const ask = async (query: string) => {
    const edge = openEdge();
    return edge.send(`/v1/sets/route?${query}`, { key: edge.keyFor(['read']) });
  };

  it('says which rule decides', async () => {
    const answer = await ask('topic=orders&key=user-42&latitude=50&longitude=8');
    expect(await answer.json()).toMatchObject({
      version: 7,
      bucket: expect.any(Number) as number,
      candidates: [{ set: 'frankfurt', reason: 'nearest' }, {}, {}],
    });
  });

  it('follows an explicit choice', async () => {
    const answer = await ask('topic=orders&set=center&fallback=only&latitude=50&longitude=8');
    expect(await answer.json()).toMatchObject({ candidates: [{ set: 'center', reason: 'explicit' }] });
  });

  it.each([
    ['latitude=90.0001&longitude=0', 422],
    ['latitude=NaN&longitude=0', 422],
    ['latitude=north&longitude=0', 422],
    ['latitude=1', 422],
    ['longitude=1', 422],
    ['latitude=1&latitude=2&longitude=0', 422],
    ['key=', 422],
    ['plcae=1', 422],
    ['set=atlantis', 404],
    ['latitude=-90&longitude=180', 200],
    ['latitude=90&longitude=-180', 200],
  ])('%s → %d', async (query, status) => {
    expect((await ask(`topic=orders&${query}`)).status).toBe(status);
  });

  it('does not know topics of others, and suggests one’s own', async () => {
    const foreign = await ask('topic=secrets');
    expect(foreign.status).toBe(404);
    expect(await (await ask('topic=order')).json()).toMatchObject({
      detail: 'There is no topic "order". Did you mean "orders"?',
    });
  });
});
