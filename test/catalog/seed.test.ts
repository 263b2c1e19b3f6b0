import { describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import { parseSeed, type SeedInput } from '../../shared/catalog/seed.ts';
import { Problem } from '../../shared/problem.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';

const { key } = mintApiKey({ owner: 'shop', scopes: ['publish'] });
const hangzhou = {
  id: 'hangzhou',
  number: 1,
  kind: 'unit' as const,
  place: { latitude: 30.27, longitude: 120.15 },
  brokerUrls: ['amqp://broker/hangzhou'],
  databaseUrls: ['postgres://db/hangzhou'],
};
const mail = {
  name: 'mail',
  owner: 'shop',
  topic: 'orders',
  endpoint: { url: 'https://shop.example/mail' },
  secrets: [createWebhookSecret()],
};
const good: SeedInput = {
  sets: [hangzhou],
  topics: [{ name: 'orders', owner: 'shop' }],
  subscriptions: [mail],
  buckets: [{ from: 0, to: 16_383, set: 'hangzhou' }],
  pins: [{ key: 'vip', set: 'hangzhou' }],
  keys: [{ ...key, scopes: [...key.scopes] }],
};

/** Where the faults are; the message must tell each of them. */
function faultsOf(seed: unknown): readonly string[] {
  const problem = problemOf(seed);
  if (!problem) return [];
  const faults = problem.extras.faults ?? [];
  const untold = faults.filter(({ at, detail }) => !problem.message.includes(`${at}: ${detail}`));
  return [...faults.map(({ at }) => at), ...untold.map(({ at }) => `untold: ${at}`)];
}

function problemOf(seed: unknown): Problem | undefined {
  try {
    parseSeed(seed);
    return undefined;
  } catch (error) {
    if (error instanceof Problem && error.kind === 'invalid-request') return error;
    throw error;
  }
}

describe('a seed', () => {
  it('tells where a filter is wrong and what to write instead', () => {
    const filter = 'body.name.matches("(a+)+$")';
    const seed = { ...good, subscriptions: [{ ...mail, filter }] };
    expect(faultsOf(seed)).toEqual(['/subscriptions/0/filter']);
    expect(problemOf(seed)?.message).toMatch(/at character 0: .*startsWith, endsWith or contains/);
    expect(faultsOf({ ...good, subscriptions: [{ ...mail, filter: 'body.name == "a"' }] })).toEqual([]);
  });

  it('is completed with defaults', () => {
    const seed = parseSeed(good);
    expect(seed.topics[0]).toMatchObject({
      type: 'topic',
      scope: 'anywhere',
      rules: ['explicit', 'pin', 'key', 'nearest', 'center'],
    });
    expect(seed.sets[0]).toMatchObject({ weight: 1, status: 'active' });
    expect(seed.subscriptions[0]).toMatchObject({
      bindings: ['#'],
      format: 'raw',
      status: 'active',
      timeoutMs: 15_000,
    });
    expect(seed.subscriptions[0]?.retryDelaysMs).toHaveLength(7);
    expect(seed.subscriptions[0]).toMatchObject({
      maxRetryAfterMs: 86_400_000,
      nonRetryable: [],
      atEnd: 'dead-letter',
      method: 'POST',
    });
  });

  it('may hold SETs alone, but needs one', () => {
    expect(faultsOf({ sets: [hangzhou] })).toEqual([]);
    expect(faultsOf({ sets: [] })).toEqual(['/sets']);
    expect(faultsOf({})).toEqual(['/sets']);
  });

  it.each<[string, object, readonly string[]]>([
    [
      'a name twice',
      { topics: [...(good.topics ?? []), { name: 'orders', owner: 'shop' }] },
      ['/topics/1/name'],
    ],
    ['a SET number twice', { sets: [hangzhou, { ...hangzhou, id: 'b' }] }, ['/sets/1/number']],
    ['a bucket of no SET', { buckets: [{ from: 0, to: 1, set: 'mars' }] }, ['/buckets/0/set']],
    ['a pin to no SET', { pins: [{ key: 'vip', set: 'mars' }] }, ['/pins/0/set']],
    [
      'a subscription to no topic',
      { subscriptions: [{ ...mail, topic: 'order' }] },
      ['/subscriptions/0/topic'],
    ],
    [
      'a subscription to another’s topic',
      { subscriptions: [{ ...mail, owner: 'rival' }] },
      ['/subscriptions/0/owner'],
    ],
    [
      'a name of RabbitMQ’s own',
      { topics: [{ name: 'amq.x', owner: 'shop' }], subscriptions: [] },
      ['/topics/0/name'],
    ],
    [
      'a name with a wildcard',
      { topics: [{ name: 'a#', owner: 'shop' }], subscriptions: [] },
      ['/topics/0/name'],
    ],
    [
      'a place beyond the pole',
      { sets: [{ ...hangzhou, place: { latitude: 90.1, longitude: 0 } }] },
      ['/sets/0/place/latitude'],
    ],
    [
      'a broker that is none',
      { sets: [{ ...hangzhou, brokerUrls: ['http://broker'] }] },
      ['/sets/0/brokerUrls/0'],
    ],
    [
      'a secret that is none',
      { subscriptions: [{ ...mail, secrets: ['hunter2'] }] },
      ['/subscriptions/0/secrets/0'],
    ],
    [
      'a webhook without URL or secret',
      { subscriptions: [{ name: 'mail', owner: 'shop', topic: 'orders' }] },
      ['/subscriptions/0/endpoint', '/subscriptions/0/secrets'],
    ],
    [
      'a native consumer with a URL',
      { subscriptions: [{ ...mail, kind: 'amqp' }] },
      ['/subscriptions/0/endpoint'],
    ],
    [
      'callbacks that nothing signs, or that nobody could owe',
      {
        subscriptions: [
          {
            ...mail,
            kind: 'pull',
            endpoint: undefined,
            secrets: undefined,
            callback: { success: 'https://a.example/' },
          },
          { ...mail, kind: 'amqp', endpoint: undefined, callback: { success: 'https://a.example/' } },
        ],
      },
      ['/subscriptions/0/secrets', '/subscriptions/1/callback'],
    ],
    ...(
      [
        ['host', 'x'],
        ['webhook-id', 'x'],
        ['setway-topic', 'x'],
        ['cc', 'x'],
        ['content-length', '1'],
        ['x-a', 'a\r\nb'],
        ['x b', 'x'],
        ['x-ü', 'x'],
      ] as const
    ).map(([header, value]): [string, object, readonly string[]] => [
      `a header ${JSON.stringify(header)}: ${JSON.stringify(value)}`,
      { subscriptions: [{ ...mail, headers: { [header]: value } }] },
      [`/subscriptions/0/headers/${header.replace(/[ ü]/, '?')}`],
    ]),
    ['a method without a body', { subscriptions: [{ ...mail, method: 'GET' }] }, ['/subscriptions/0/method']],
    [
      'a schedule that is none',
      { subscriptions: [{ ...mail, retries: { kind: 'exponential', factor: 2 } }] },
      ['/subscriptions/0/retries/first'],
    ],
    ['an API key as it is shown', { keys: [{ ...key, secretHash: 'sk_abc' }] }, ['/keys/0/secretHash']],
    ['a field nobody knows', { topics: [{ name: 'orders', owner: 'shop', durable: true }] }, ['/topics/0']],
  ])('with %s is refused where it stands', (_fault, change, at) => {
    expect(faultsOf({ ...good, ...change })).toEqual(at);
  });

  it('names all its faults at once', () => {
    const seed = {
      ...good,
      buckets: [{ from: 0, to: 1, set: 'mars' }],
      pins: [{ key: 'vip', set: 'venus' }],
    };
    expect(faultsOf(seed)).toEqual(['/buckets/0/set', '/pins/0/set']);
  });
});
