/** Federation as it is planned, on real brokers: no echo, nothing lost by a cut link, nothing left behind. */
import { connect, type ChannelModel, type ConfirmChannel, type GetMessage } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { toInbound } from '../../shared/broker/inbound.ts';
import type { SetAccess } from '../../shared/catalog/catalog.ts';
import { asProblem } from '../../shared/problem.ts';
import type { FederationView } from '../../shared/sets/federation-view.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import { topic as topicSchema } from '../../shared/catalog/topic-schema.ts';
import { subscriptionFields } from '../../shared/catalog/subscription-schema.ts';
import {
  applyFederation,
  identityOf,
  missingFederation,
  refuseTwins,
  removeFederation,
} from '../../shared/fleet/apply-federation.ts';
import { linkUri, planFederation, vhostOf, type FederationSource } from '../../shared/fleet/federation.ts';
import { readFederationView } from '../../shared/fleet/federation-links.ts';
import type { Management } from '../../shared/topology/management.ts';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { declareShovel, readShovels, removeShovel } from '../../shared/fleet/declared-shovels.ts';
import { amqpUrlOf, createVhost } from '../stack/addresses.ts';
import { startPrivateStack, useStack } from '../stack/current-stack.ts';
import type { Stack } from '../stack/stack.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 45_000;
const exchange = 'setway.topic.orders';
const queue = 'setway.sub.mail';
const quorum = { durable: true, arguments: { 'x-queue-type': 'quorum' } } as const;

interface Place {
  readonly id: string;
  readonly url: string;
  readonly management: Management;
  readonly managementUrl: string;
  readonly connection: ChannelModel;
  readonly channel: ConfirmChannel;
}

async function openPlace(id: string, url: string, managementUrl: string): Promise<Place> {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(exchange, 'topic');
  await channel.assertExchange('setway.high.topic.orders', 'topic');
  for (const name of [queue, 'setway.sub.work']) await channel.assertQueue(name, quorum);
  await channel.bindQueue(queue, exchange, 'eu.#');
  return {
    id,
    url,
    managementUrl,
    management: openManagement({ fetch }, managementUrl),
    connection,
    channel,
  };
}

/** A catalog of these SETs with one replicated topic, and a subscription whose queues are federated. */
function catalogOf(
  sets: readonly { readonly id: string; readonly url: string }[],
  federated: 'federated' | 'not federated' = 'federated',
): FederationSource {
  const topic = topicSchema.parse({
    name: 'orders',
    ...(federated === 'federated' ? { replicate: {} } : {}),
  });
  const work = subscriptionFields.parse({
    name: 'work',
    topic: 'orders',
    kind: 'amqp',
    ...(federated === 'federated' ? { federate: {} } : {}),
  });
  const definition = {
    kind: 'unit',
    place: { latitude: 0, longitude: 0 },
    weight: 1,
    status: 'active',
  } as const;
  return {
    topics: new Map([[topic.name, topic as Topic]]),
    subscriptions: new Map([[work.name, work]]),
    sets: new Map(sets.map(({ id }, number) => [id, { ...definition, id, number, shards: 1 }])),
    access: new Map(
      sets.map(({ id, url }): [string, SetAccess] => [id, { brokerUrls: [url], databaseUrls: [] }]),
    ),
  };
}

async function federateAll(places: readonly Place[], catalog: FederationSource): Promise<void> {
  for (const { id, management } of places) await applyFederation(management, { catalog, set: id });
  for (const { id, management } of places) await until(deadlineMs, () => isUp(management, catalog, id));
}

async function isUp(management: Management, catalog: FederationSource, set: string): Promise<boolean> {
  const view = await viewOf(management, { catalog, set, identities: new Map() });
  return view?.links.every(({ state }) => state === 'up') === true;
}

/** RabbitMQ 3.10 answers 500 while a link is about to open its second channel (`rabbit_federation_mgmt`: `case_clause`). */
function viewOf(...look: Parameters<typeof readFederationView>): Promise<FederationView | undefined> {
  return readFederationView(...look).catch((error: unknown) => {
    if (asProblem(error).kind === 'broker-unavailable') return undefined;
    throw error;
  });
}

async function publish({ channel }: Place, body: string, key = 'eu.created'): Promise<void> {
  channel.publish(exchange, key, Buffer.from(body), { persistent: true, mandatory: true, messageId: body });
  await channel.waitForConfirms();
}

async function takeOne({ channel }: Place, from = queue): Promise<GetMessage> {
  return until(deadlineMs, async () => channel.get(from, { noAck: true }));
}

async function takeAll(place: Place, amount: number): Promise<readonly string[]> {
  const bodies: string[] = [];
  while (bodies.length < amount) bodies.push(String((await takeOne(place)).content));
  return bodies;
}

/** Everything of federation in a vhost. */
async function traces({ management, url }: Place): Promise<readonly string[]> {
  const vhost = vhostOf(url);
  const found = await Promise.all([
    management.parameters.list('federation-upstream', vhost),
    management.parameters.list('federation-upstream-set', vhost),
    management.policies.list(vhost),
    management.queues.list(vhost).then((all) => all.filter(({ name }) => name.startsWith('federation:'))),
    management.exchanges.list(vhost).then((all) => all.filter(({ name }) => name.startsWith('federation:'))),
  ]);
  return found.flat().map(({ name }) => name);
}

describe('three SETs on one broker', { timeout: 2 * deadlineMs }, () => {
  let places: readonly Place[];
  let proxy: TcpProxy;
  let catalog: FederationSource;
  beforeAll(async () => {
    const stack = useStack();
    proxy = await startTcpProxy(stack.amqpUrl);
    const corners = await Promise.all(['a', 'b', 'c'].map((name) => stack.createCorner(`fed-${name}`)));
    places = await Promise.all(
      corners.map(({ amqpUrl }, n) => openPlace(['a', 'b', 'c'][n] ?? '', amqpUrl, stack.managementUrl)),
    );
    // The others reach A through the proxy.
    catalog = catalogOf(places.map(({ id, url }) => ({ id, url: id === 'a' ? proxy.through(url) : url })));
    await federateAll(places, catalog);
  });
  afterEach(() => proxy.become('open'));
  afterAll(async () => {
    await Promise.all(places.map(({ connection }) => connection.close()));
    await proxy.close();
  });
  const at = (id: string): Place => places.find((place) => place.id === id) ?? never(id);

  it('has each message everywhere once, marked as a copy but where it was published', async () => {
    const published = places.map(({ id }) => `from ${id}`);
    await Promise.all(places.map((place) => publish(place, `from ${place.id}`)));
    for (const place of places) {
      const taken = await Promise.all(published.map(() => takeOne(place)));
      const seen = taken.map(
        (message) => [String(message.content), toInbound(message).isCopy ?? false] as const,
      );
      expect(Object.fromEntries(seen)).toEqual(
        Object.fromEntries(published.map((body) => [body, body !== `from ${place.id}`])),
      );
      expect(seen).toHaveLength(3);
      const [message] = taken;
      expect(message?.properties).toMatchObject({ messageId: String(message?.content), deliveryMode: 2 });
    }
    // Behind these, what came back of the first ones would stand before.
    await Promise.all(places.map((place) => publish(place, `again ${place.id}`)));
    for (const place of places)
      expect((await takeAll(place, 3)).toSorted()).toEqual(['again a', 'again b', 'again c']);
  });

  it('has nothing to do when it is as it should be, and finds and mends what was changed by hand', async () => {
    for (const { id, management } of places)
      expect(await missingFederation(management, { catalog, set: id })).toEqual([]);
    const { management, url } = at('b');
    const vhost = vhostOf(url);
    const foreign = { name: 'theirs', pattern: '^theirs', applyTo: 'queues', priority: 0 } as const;
    await management.policies.put(vhost, { ...foreign, definition: { 'max-length': 5 } });
    const [upstream] = planFederation(catalog, 'b').upstreams;
    const value = { ...(upstream?.value as object), 'max-hops': 3 };
    await management.parameters.put('federation-upstream', vhost, { name: 'setway-from-a', value });
    await management.policies.remove(vhost, 'setway-topic-orders');
    const steps = await applyFederation(management, { catalog, set: 'b' });
    expect(steps.map(({ what }) => what)).toEqual([
      'set the upstream setway-from-a',
      'set the policy setway-topic-orders',
    ]);
    expect(JSON.stringify(steps.map(({ what }) => what))).not.toContain('guest');
    expect(await missingFederation(management, { catalog, set: 'b' })).toEqual([]);
    expect((await management.policies.list(vhost)).map(({ name }) => name)).toContain('theirs');
    await management.policies.remove(vhost, 'theirs');
    await until(deadlineMs, () => isUp(management, catalog, 'b'));
  });

  it('gets what was missed when a link was cut, and tells link and lag meanwhile', async () => {
    const [a, b] = [at('a'), at('b')];
    const identities = new Map([['b', await identityOf(b.management, vhostOf(b.url))]]);
    proxy.become('closed');
    await until(deadlineMs, () => proxy.refused > 0);
    const down = await until(deadlineMs, async () => {
      const view = await viewOf(b.management, { catalog, set: 'b', identities });
      return view?.links.find(({ upstream, state }) => upstream === 'a' && state === 'down');
    });
    expect(down.error).toMatch(/\w/);
    const missed = Array.from({ length: 20 }, (_, n) => `missed ${String(n).padStart(2, '0')}`);
    for (const body of missed) await publish(a, body);
    await until(deadlineMs, async () => {
      const view = await viewOf(a.management, { catalog, set: 'a', identities });
      return view?.lags.find(({ downstream, messages }) => downstream === 'b' && messages === 20);
    });
    proxy.become('open');
    expect(await takeAll(b, 20)).toEqual(missed);
    await takeAll(a, 20);
    await takeAll(at('c'), 20);
    await until(deadlineMs, () => isUp(b.management, catalog, 'b'));
  });

  it('lends messages of a federated queue, which are no copies', async () => {
    const [a, b] = [at('a'), at('b')];
    a.channel.sendToQueue('setway.sub.work', Buffer.from('lent'), { persistent: true });
    await a.channel.waitForConfirms();
    const consumed = Promise.withResolvers<GetMessage>();
    const { consumerTag } = await b.channel.consume('setway.sub.work', (message) => {
      if (message) consumed.resolve(message as unknown as GetMessage);
    });
    const message = await consumed.promise;
    expect(String(message.content)).toBe('lent');
    expect(message.properties.headers).toHaveProperty('x-received-from');
    expect(toInbound(message).isCopy).toBeUndefined();
    b.channel.ack(message);
    await b.channel.cancel(consumerTag);
  });

  it('moves a queue by a shovel that is declared, watched and removed', async () => {
    const end = (place: Place, name: string) => ({
      set: place.id,
      management: place.management,
      brokerUrls: [place.url],
      vhost: vhostOf(place.url),
      queue: name,
    });
    const [a, b] = [at('a'), at('b')];
    await expect(declareShovel('move', end(a, 'setway.sub.mial'), end(b, queue))).rejects.toThrow(
      'Did you mean "setway.sub.mail"?',
    );
    await declareShovel('move', end(a, 'setway.sub.work'), end(b, queue));
    a.channel.sendToQueue('setway.sub.work', Buffer.from('moved'), { persistent: true });
    expect(String((await takeOne(b)).content)).toBe('moved');
    await until(deadlineMs, async () => {
      const [shovel] = await readShovels(a.management, vhostOf(a.url));
      return shovel?.state === 'running' && shovel.from === 'setway.sub.work' && shovel.to === queue;
    });
    await expect(removeShovel(a.management, vhostOf(a.url), 'muve')).rejects.toThrow('Did you mean "move"?');
    await removeShovel(a.management, vhostOf(a.url), 'move');
    expect(await readShovels(a.management, vhostOf(a.url))).toEqual([]);
  });

  it('refuses two SETs that federation could not tell apart', async () => {
    const identity = await identityOf(at('a').management, vhostOf(at('a').url));
    expect(() => refuseTwins(new Map([['a', identity]]))).not.toThrow();
    const twins = new Map([
      ['a', identity],
      ['twin', identity],
    ]);
    expect(() => refuseTwins(twins)).toThrow('rabbitmqctl set_cluster_name');
  });

  it('leaves nothing behind when a SET goes, nor when the topic stops', async () => {
    const c = at('c');
    await removeFederation(c.management, vhostOf(c.url));
    const without = { ...catalog, sets: new Map([...catalog.sets].filter(([id]) => id !== 'c')) };
    for (const place of [at('a'), at('b')])
      await applyFederation(place.management, { catalog: without, set: place.id });
    await until(deadlineMs, async () => (await traces(c)).length === 0);
    const left = (await traces(at('a'))).filter(
      (name) => name.includes('from-c') || name.includes(vhostOf(c.url)),
    );
    expect(left).toEqual([]);
    const stopped = catalogOf(places, 'not federated');
    for (const place of places) await applyFederation(place.management, { catalog: stopped, set: place.id });
    for (const place of places) await until(deadlineMs, async () => (await traces(place)).length === 0);
  });
});

describe('two brokers', () => {
  let stack: Stack;
  let places: readonly [Place, Place];
  beforeAll(async () => {
    stack = await startPrivateStack();
    const here = await useStack().createCorner('fed-here');
    await createVhost(stack.addresses, 'fed-there');
    const there = amqpUrlOf(stack.addresses, 'fed-there');
    places = [
      await openPlace('here', here.amqpUrl, useStack().managementUrl),
      await openPlace('there', there, stack.addresses.managementUrl),
    ];
    await federateAll(places, catalogOf(places));
  }, 120_000);
  afterAll(async () => {
    await places[0].connection.close();
    await stack.stop();
  });

  it('each have what the other has, and one that was killed gets what it missed', async () => {
    const [here, there] = places;
    await publish(here, 'hither');
    await publish(there, 'thither');
    expect((await takeAll(here, 2)).toSorted()).toEqual(['hither', 'thither']);
    expect((await takeAll(there, 2)).toSorted()).toEqual(['hither', 'thither']);
    await stack.parts.rabbitmq.syncQueueNames();
    there.connection.on('error', () => undefined); // it is killed
    there.channel.on('error', () => undefined);
    await stack.parts.rabbitmq.kill();
    for (const n of [1, 2, 3]) await publish(here, `missed ${n}`);
    await stack.parts.rabbitmq.start();
    const again = await openPlace('there', there.url, there.managementUrl);
    expect(await takeAll(again, 3)).toEqual(['missed 1', 'missed 2', 'missed 3']);
    await again.connection.close();
  }, 120_000);
});

it('a broker URL becomes one that RabbitMQ reads alike', () => {
  expect(linkUri('amqp://u:p%2Fq@host')).toBe('amqp://u:p%2Fq@host/%2F');
  expect(linkUri('amqps://u:p@host:5671/a%2Fb?heartbeat=10&frameMax=8192')).toBe(
    'amqps://u:p@host:5671/a%2Fb?heartbeat=10',
  );
});

function never(id: string): never {
  throw new Error(`There is no "${id}".`);
}
