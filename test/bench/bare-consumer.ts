/**
 * What somebody would write without Setway to call a webhook: an amqplib consumer that POSTs each message over kept
 * connections, as many at once as the prefetch allows, and acks after the answer. No signature, no record, no retry.
 */
import { Agent, request as startRequest } from 'node:http';
import { connect, type ConsumeMessage } from 'amqplib';
import { answerQuestions } from './child.ts';

const queue = process.env['BENCH_QUEUE'] ?? '';
const target = process.env['BENCH_TARGET'] ?? '';
const concurrency = Number(process.env['BENCH_CONCURRENCY']);

const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
const connection = await connect(process.env['BENCH_AMQP_URL'] ?? '');
const channel = await connection.createChannel();
await channel.prefetch(concurrency);

function deliver(message: ConsumeMessage): void {
  const headers = { 'content-type': 'application/json', 'content-length': message.content.length };
  const call = startRequest(target, { method: 'POST', agent, headers }, (answer) => {
    answer.resume();
    answer.on('end', () => (answer.statusCode === 200 ? channel.ack(message) : channel.nack(message)));
  });
  call.on('error', () => channel.nack(message));
  call.end(message.content);
}

/** Any question begins it. */
answerQuestions(() => channel.consume(queue, (message) => message && deliver(message)));
console.info('is ready');
