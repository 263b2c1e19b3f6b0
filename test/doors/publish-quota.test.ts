import { describe, expect, it } from 'vitest';
import { createLocalBuckets, type PublishLimit, type Wanted } from '../../shared/catalog/publish-limit.ts';
import { openEdge } from './edge.ts';

const json = { 'content-type': 'application/json' };
const perMinute: PublishLimit = { limit: 3, of: 'messages', per: 'minute', burst: 5 };

/** An edge whose clock stands still, with a key that is limited, and perhaps a topic. */
async function openLimited(ofKey: PublishLimit | undefined, ofTopic?: PublishLimit) {
  const asked: (readonly Wanted[])[] = [];
  const buckets = createLocalBuckets({ nowMs: () => 1_000_000 });
  const edge = openEdge({
    limiter: {
      take(wanted) {
        asked.push(wanted);
        return buckets.take(wanted);
      },
    },
  });
  const { topics } = await edge.services.catalog.current();
  for (const name of ['orders', 'secrets']) {
    const topic = topics.get(name);
    if (topic) (topics as Map<string, unknown>).set(name, { ...topic, publishLimit: ofTopic });
  }
  const key = edge.keyFor(['publish'], ofKey === undefined ? {} : { publishLimit: ofKey });
  const post = (path: string, value: unknown) =>
    edge.send(path, { method: 'POST', key, headers: json, body: JSON.stringify(value) });
  return { ...edge, asked, post };
}

const order = { topic: 'orders', body: 1 };

describe('a limit on publishing', () => {
  it('is told on every answer, and ends in a 429 that says when to come back', async () => {
    const { post, published } = await openLimited(perMinute);
    const first = await post('/v1/messages', order);
    expect(first.status).toBe(202);
    expect(first.headers.get('ratelimit-policy')).toBe('"key";q=3;w=60;qu="messages"');
    expect(first.headers.get('ratelimit')).toBe('"key";r=4;t=20');
    for (let count = 0; count < 4; count++) await post('/v1/messages', order);
    const refused = await post('/v1/messages', order);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(await refused.json()).toMatchObject({ type: '/problems/rate-limited', status: 429 });
    expect(refused.headers.get('retry-after')).toBe('20');
    expect(refused.headers.get('ratelimit')).toBe('"key";r=0;t=100');
    expect(published).toHaveLength(5);
  });

  it('counts the messages of a bulk request, takes all or none, and never splits', async () => {
    const { post, published, asked } = await openLimited(perMinute, { ...perMinute, burst: 4 });
    const four = await post('/v1/messages/bulk', [order, order, order, order]);
    expect(four.status).toBe(202);
    expect(four.headers.get('ratelimit')).toBe('"key";r=1;t=80, "topic:orders";r=0;t=80');
    const one = await post('/v1/messages', order);
    expect(one.status).toBe(429);
    expect(JSON.stringify(await one.json())).toContain('The limit of topic:orders is 3 messages per minute.');
    // What the topic refused is not taken from the key.
    expect(one.headers.get('ratelimit')).toContain('"key";r=1');
    expect(asked[0]?.map(({ amount }) => amount)).toEqual([4, 4]);
    expect(published).toHaveLength(4);
  });

  it('more at once than ever fits is refused for good, with what would fit', async () => {
    const { post, asked } = await openLimited(perMinute);
    const answer = await post('/v1/messages/bulk', Array(6).fill(order));
    expect(answer.status).toBe(422);
    expect(JSON.stringify(await answer.json())).toContain('(5): send fewer');
    expect(asked).toEqual([]);
  });

  it('may count requests instead', async () => {
    const { post, asked } = await openLimited({ limit: 2, of: 'requests', per: 'second' });
    const answer = await post('/v1/messages/bulk', Array(50).fill(order));
    expect(answer.headers.get('ratelimit-policy')).toBe('"key";q=2;w=1');
    expect(answer.headers.get('ratelimit')).toBe('"key";r=1;t=1');
    expect(asked[0]?.[0]?.amount).toBe(1);
  });

  it('nobody is asked where nothing is limited, nor for a request that is refused anyway', async () => {
    const { post, asked } = await openLimited(undefined);
    const answer = await post('/v1/messages', order);
    expect(answer.status).toBe(202);
    expect(answer.headers.get('ratelimit')).toBeNull();
    const limited = await openLimited(perMinute);
    expect((await limited.post('/v1/messages', { topic: 'orders' })).status).toBe(422);
    expect([...asked, ...limited.asked]).toEqual([]);
  });

  it("another owner's topic keeps its tokens", async () => {
    const { post, asked } = await openLimited(undefined, perMinute);
    await post('/v1/messages', { topic: 'secrets', body: 1 });
    expect(asked).toEqual([]);
  });
});
