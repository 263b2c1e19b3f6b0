/**
 * Setway's own libraries with nothing of Setway: a Hono app on Node that reads a JSON body, checks a bearer token, and
 * publishes it through amqplib with the properties and headers Setway sends, answered after the confirm. What remains
 * between this and Setway is Setway.
 */
import { serve } from '@hono/node-server';
import { connect } from 'amqplib';
import { Hono } from 'hono';

const queue = process.env['BENCH_QUEUE'] ?? '';
const connection = await connect(process.env['BENCH_AMQP_URL'] ?? '');
const channel = await connection.createConfirmChannel();
await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });

const app = new Hono();
app.post('/v1/messages', async (context) => {
  if (context.req.header('authorization') === undefined) return context.json({}, 401);
  const { topic, body } = await context.req.json<{ readonly topic: string; readonly body: object }>();
  const id = crypto.randomUUID();
  await publish(id, topic, JSON.stringify(body));
  return context.json({ id, state: 'sent', set: 'bare', duplicate: false }, 202, { 'x-request-id': id });
});

function publish(messageId: string, topic: string, body: string): Promise<void> {
  const headers = {
    'setway-owner': 'bench',
    'setway-mode': 'fast',
    'setway-set': 'bare',
    'setway-reason': 'nearest',
    'setway-accepted-at': Date.now(),
    'setway-distance': 0.1,
  };
  const options = {
    persistent: true,
    mandatory: true,
    contentType: 'application/json',
    timestamp: Math.floor(Date.now() / 1000),
    appId: 'setway',
    type: topic,
    messageId,
    headers,
  };
  return new Promise((resolve, reject) => {
    channel.publish('', queue, Buffer.from(body), options, (error: unknown) =>
      error === null ? resolve() : reject(new Error('RabbitMQ refused a message', { cause: error })),
    );
  });
}

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) =>
  console.info(`listens at http://127.0.0.1:${port}`),
);
process.on('disconnect', () => process.exit(0));
