/** The five models of messaging with queues (https://www.rabbitmq.com/tutorials): the same play with another catalog. */
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { createRedisGuard } from '../../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../../shared/idempotency/upstash.ts';
import type { TopicType } from '../../../shared/subscriptions/subscription.ts';
import { until } from '../../stack/until.ts';
import type { CatalogPart, Example, Place, Stage } from './example.ts';

const topic = 'news';
const deadlineMs = 30_000;

interface Model {
  readonly name: string;
  readonly shows: string;
  readonly type: TopicType;
  /** By subscription, what it binds. */
  readonly bindings: Readonly<Record<string, readonly string[]>>;
  /** Published in this order. */
  readonly tags: readonly string[];
  /** By subscription, the tags it gets, in any order. */
  readonly gets: Readonly<Record<string, readonly string[]>>;
}

const models: readonly Model[] = [
  {
    name: 'simple-queue',
    shows: 'one producer, one consumer',
    type: 'fanout',
    bindings: { reader: ['#'] },
    tags: ['one', 'two', 'three'],
    gets: { reader: ['one', 'two', 'three'] },
  },
  {
    name: 'fanout',
    shows: 'every consumer group gets every message',
    type: 'fanout',
    bindings: { paper: ['#'], radio: ['#'] },
    tags: ['election', 'weather'],
    gets: { paper: ['election', 'weather'], radio: ['election', 'weather'] },
  },
  {
    name: 'direct',
    shows: 'a consumer group gets the tags it names',
    type: 'direct',
    bindings: { pager: ['error'], archive: ['error', 'info'] },
    tags: ['info', 'error', 'debug'],
    gets: { pager: ['error'], archive: ['info', 'error'] },
  },
  {
    name: 'topic',
    shows: 'a consumer group gets tags by pattern: * is one word, # any number of words',
    type: 'topic',
    bindings: { orange: ['*.orange.*'], rabbits: ['*.*.rabbit', 'lazy.#'] },
    tags: ['quick.orange.rabbit', 'quick.orange.fox', 'lazy.brown.fox', 'quick.brown.fox', 'lazy'],
    gets: {
      orange: ['quick.orange.rabbit', 'quick.orange.fox'],
      rabbits: ['quick.orange.rabbit', 'lazy.brown.fox', 'lazy'],
    },
  },
];

export const modelExamples: readonly Example[] = models.map((model) => ({
  name: model.name,
  shows: model.shows,
  catalog: (place) => catalogOf(model, place),
  play: (stage) => play(model, stage),
}));

function catalogOf({ type, bindings }: Model, { hooksUrl, secret }: Place): CatalogPart {
  return {
    topics: [{ name: topic, owner: 'demo', type }],
    subscriptions: Object.entries(bindings).map(([name, keys]) => ({
      name,
      owner: 'demo',
      topic,
      endpoint: { url: `${hooksUrl}/${name}` },
      bindings: [...keys],
      secrets: [secret],
    })),
  };
}

async function play({ bindings, tags, gets }: Model, stage: Stage): Promise<void> {
  const { say, check, client, secret, redis } = stage;
  const got = new Map(Object.keys(bindings).map((name) => [name, [] as string[]]));
  const guard = createRedisGuard(connectRedis(redis));
  for (const [name, heard] of got) {
    const handler = webhookHandler({ secrets: [secret], subscription: name, guard }, async (message) => {
      heard.push(message.tag ?? '');
      say(`${name} gets "${message.tag}"`);
    });
    stage.hook(name, handler);
  }
  for (const tag of tags) {
    const { status } = await client.publish({ topic, tag, body: { tag } });
    if (status !== 202) throw new Error(`"${tag}" was not accepted: ${status}`);
  }
  say(`published: ${tags.join(', ')}`);
  const wanted = Object.values(gets).flat().length;
  await until(deadlineMs, async () => [...got.values()].flat().length >= wanted);
  for (const [name, expected] of Object.entries(gets)) {
    const heard = got.get(name) ?? [];
    check(`${name} got ${expected.join(', ')}, once each`, sorted(heard) === sorted(expected));
  }
}

function sorted(tags: readonly string[]): string {
  return tags.toSorted().join(' ');
}
