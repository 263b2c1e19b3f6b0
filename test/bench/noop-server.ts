/** Answers 202 at once: how fast the load generator is. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(202, { 'content-type': 'application/json', 'content-length': 11 });
  response.end('{"ok":true}');
});
server.listen(0, '127.0.0.1', () => {
  console.info(`listens at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.on('disconnect', () => process.exit(0));
