/** The five models of messaging with queues, each with who gets what (https://www.rabbitmq.com/tutorials). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TopicType } from '../../shared/subscriptions/subscription.ts';
import { at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';

const waitMs = 30_000;

/** By topic its type, and by subscription what it binds. */
const models: Readonly<
  Record<
    string,
    { readonly type: TopicType; readonly subscriptions: Readonly<Record<string, readonly string[]>> }
  >
> = {
  simple: { type: 'fanout', subscriptions: { only: ['#'] } },
  news: { type: 'fanout', subscriptions: { paper: ['#'], radio: ['#'] } },
  alarms: { type: 'direct', subscriptions: { errors: ['error'], everything: ['error', 'info'] } },
  zoo: {
    type: 'topic',
    subscriptions: { orange: ['*.orange.*'], rabbits: ['*.*.rabbit', 'lazy.#'] },
  },
};

describe.each(platforms.filter(({ name }) => name === 'Node'))('the five models on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(platform, 'models', {
      listeners: { keep: {} },
      change: (seed, url) => {
        const [secret = ''] = seed.subscriptions?.at(-1)?.secrets ?? [];
        const hook = (name: string) => ({
          owner: 'demo',
          name,
          endpoint: { url: `${url}/${name}` },
          secrets: [secret],
        });
        const subscriptions = Object.entries(models).flatMap(([topic, each]) =>
          Object.entries(each.subscriptions).map(([name, bindings]) => ({
            ...hook(name),
            topic,
            bindings: [...bindings],
          })),
        );
        const workers = {
          ...hook('worker-1'),
          topic: 'work',
          members: [{ url: `${url}/worker-2` }],
          concurrency: 2,
        };
        return {
          ...seed,
          topics: [
            ...(seed.topics ?? []),
            ...Object.entries(models).map(([name, { type }]) => ({ name, owner: 'demo', type })),
            { name: 'work', owner: 'demo' },
          ],
          subscriptions: [...(seed.subscriptions ?? []), ...subscriptions, workers],
        };
      },
    });
  });
  afterAll(() => scene.stop());

  /** Publishes a message per tag; resolves with the paths each one reached, once so many calls came. */
  const reached = async (topic: string, tags: readonly string[], calls: number) => {
    const published = await Promise.all(
      tags.map((tag) => scene.client.publish({ topic, tag, body: { tag } }, at(cities.berlin))),
    );
    const ids = published.map(({ body }) => body.id);
    const ofThese = () =>
      scene.receiver.calls.filter(({ headers }) => ids.includes(String(headers['webhook-id'])));
    await scene.receiver.waitFor(() => ofThese().length >= calls, waitMs);
    const byTag = tags.map((tag, index) => {
      const paths = ofThese().filter(({ headers }) => headers['webhook-id'] === ids[index]);
      return [tag, paths.map(({ path }) => path.slice(1)).toSorted((a, b) => (a < b ? -1 : 1))] as const;
    });
    return Object.fromEntries(byTag);
  };

  it('simple: one queue, one consumer', async () => {
    expect(await reached('simple', ['hello'], 1)).toEqual({ hello: ['only'] });
  });

  it('work queue: each message to one of the workers, and both work', async () => {
    const tags = Array.from({ length: 40 }, (_, index) => `task-${index}`);
    const byTag = await reached('work', tags, 40);
    expect(Object.values(byTag).every(({ length }) => length === 1)).toBe(true);
    expect(new Set(Object.values(byTag).flat())).toEqual(new Set(['worker-1', 'worker-2']));
  });

  it('publish and subscribe: everybody gets everything', async () => {
    expect(await reached('news', ['a', 'b'], 4)).toEqual({ a: ['paper', 'radio'], b: ['paper', 'radio'] });
  });

  it('routing: by equal key', async () => {
    expect(await reached('alarms', ['error', 'info'], 3)).toEqual({
      error: ['errors', 'everything'],
      info: ['everything'],
    });
  });

  it('topics: * is one word, # any number', async () => {
    const tags = [
      'quick.orange.rabbit',
      'lazy.orange.elephant',
      'quick.orange.fox',
      'lazy',
      'lazy.pink.rabbit',
    ];
    expect(await reached('zoo', tags, 7)).toEqual({
      'quick.orange.rabbit': ['orange', 'rabbits'],
      'lazy.orange.elephant': ['orange', 'rabbits'],
      'quick.orange.fox': ['orange'],
      lazy: ['rabbits'],
      'lazy.pink.rabbit': ['rabbits'],
    });
  });
});
