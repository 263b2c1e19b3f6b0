/**
 * What somebody would write without Setway: an HTTP server that publishes each body, persistent and mandatory, to a
 * quorum queue through amqplib, and answers after the confirm.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'amqplib';

const queue = process.env['BENCH_QUEUE'] ?? '';
const connection = await connect(process.env['BENCH_AMQP_URL'] ?? '');
const channel = await connection.createConfirmChannel();
await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () =>
    publish(request, parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts), response),
  );
});

function publish(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
  const options = { persistent: true, mandatory: true, contentType: request.headers['content-type'] ?? '' };
  channel.publish('', queue, body, options, (error: unknown) => {
    const answer = error === null ? '{"ok":true}' : '{"ok":false}';
    const headers = { 'content-type': 'application/json', 'content-length': answer.length };
    response.writeHead(error === null ? 202 : 503, headers).end(answer);
  });
}

server.listen(0, '127.0.0.1', () => {
  console.info(`listens at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.on('disconnect', () => process.exit(0));
