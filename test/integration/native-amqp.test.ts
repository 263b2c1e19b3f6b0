/** Native AMQP clients beside webhooks, by a client that is not ours, in both directions. */
import { AMQPClient, type AMQPChannel, type AMQPMessage } from '@cloudamqp/amqp-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { countConsumers, countWaiting } from '../stack/queue.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

describe.each(platforms)('native AMQP clients on $name', (platform) => {
  let scene: Scene;
  let client: AMQPClient;
  let channel: AMQPChannel;
  beforeAll(async () => {
    scene = await openScene(platform, 'native', {
      listeners: { hooked: {} },
      change: (seed) => ({
        ...seed,
        subscriptions: [
          ...(seed.subscriptions ?? []),
          { name: 'native', owner: 'demo', topic: 'events', kind: 'amqp', bindings: ['eu.*'] },
        ],
      }),
    });
    // Consumption begins when all is declared.
    const vhost = scene.deployment.brokerUrls['frankfurt'] ?? '';
    await until(30_000, async () => (await countConsumers(vhost, 'setway.sub.hooked').catch(() => 0)) === 1);
    client = new AMQPClient(scene.deployment.brokerUrls['frankfurt'] ?? '');
    channel = await (await client.connect()).channel();
    await channel.confirmSelect();
  });
  afterAll(async () => {
    await client.close();
    await scene.stop();
  });

  const publishNatively = (messageId: string | undefined, body: string): Promise<number> =>
    channel.basicPublish('setway.topic.events', 'hooked', body, {
      contentType: 'application/json',
      headers: { 'x-kind': 'invoice', 'webhook-id': 'not ours to take' },
      ...(messageId === undefined ? {} : { messageId }),
    });

  it('consume what is published over HTTP, with every property', async () => {
    const taken: AMQPMessage[] = [];
    await channel.basicQos(10);
    const consumer = await channel.basicConsume('setway.sub.native', { noAck: false }, async (message) => {
      taken.push(message);
      await message.ack();
    });
    const message = {
      topic: 'events',
      tag: 'eu.created',
      key: 'user-42',
      body: { n: 1 },
      headers: { 'x-a': 'b' },
    };
    const { body } = await scene.client.publish(message, at(cities.berlin));
    const [first] = await until(20_000, () => taken.length > 0 && taken);
    expect(first?.properties).toMatchObject({
      messageId: body.id,
      type: 'events',
      contentType: 'application/json',
      appId: 'setway',
      deliveryMode: 2,
    });
    expect(first?.properties.headers).toMatchObject({
      'setway-tag': 'eu.created',
      'setway-key': 'user-42',
      'setway-owner': 'demo',
      'setway-mode': 'confirm',
      'setway-set': 'frankfurt',
      'setway-h-x-a': 'b',
    });
    const acceptedAtMs = Number(first?.properties.headers?.['setway-accepted-at']);
    expect(Math.abs(acceptedAtMs - Date.now())).toBeLessThan(600_000);
    expect(first?.routingKey).toBe('eu.created');
    expect(first?.bodyToString()).toBe('{"n":1}');
    await channel.basicCancel(consumer.tag);
    // Nobody of ours consumes: the next one stays until somebody takes it.
    await scene.client.publish(message, at(cities.berlin));
    const vhost = scene.deployment.brokerUrls['frankfurt'] ?? '';
    await until(20_000, async () => (await countWaiting(vhost, 'setway.sub.native')) === 1);
  });

  it('publish to webhooks: tried again under one id, and a copy of it under the same', async () => {
    scene.receiver.script('/hooked', [{ status: 503 }]);
    await publishNatively('inv-1', '{"invoice":1}');
    await publishNatively('inv-1', '{"invoice":1}');
    await publishNatively(undefined, '{"invoice":2}');
    await scene.receiver.waitFor((all) => all.length >= 4, 20_000);
    const calls = scene.receiver.calls.filter(({ path }) => path === '/hooked');
    const idsOf = (body: string) =>
      calls.filter((call) => String(call.body) === body).map(({ headers }) => headers['webhook-id']);
    expect(idsOf('{"invoice":1}')).toHaveLength(3);
    expect(new Set(idsOf('{"invoice":1}')).size).toBe(1);
    expect(idsOf('{"invoice":2}')).toHaveLength(1);
    expect(idsOf('{"invoice":2}')).not.toEqual(idsOf('{"invoice":1}').slice(0, 1));
    expect(calls[0]?.headers).toMatchObject({
      'setway-topic': 'events',
      'setway-tag': 'hooked',
      'x-kind': 'invoice',
      'content-type': 'application/json',
    });
  });

  it('find what no webhook took in the dead-letter queue', async () => {
    scene.receiver.script('/hooked', [{ status: 400 }]);
    await publishNatively('inv-bad', 'no invoice');
    const vhost = scene.deployment.brokerUrls['frankfurt'] ?? '';
    const dead = await until(20_000, () => countWaiting(vhost, 'setway.dead'));
    expect(dead).toBe(1);
  });
});
