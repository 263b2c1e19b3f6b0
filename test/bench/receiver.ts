/**
 * A webhook that answers 200 at once, and tells when the expected number of calls has come. Under `/guarded` it is a real
 * consumer: the signature verified, the message reserved and noted as done in Redis.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import { nodeWebhook } from '../../shared/consumer/node.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { answerQuestions } from './child.ts';

export interface Expectation {
  readonly calls: number;
  readonly deadlineMs: number;
}

export interface ReceiverReport {
  readonly calls: number;
  /** From the first call to the last. */
  readonly seconds: number;
}

let calls = 0;
let firstMs = 0;
let lastMs = 0;
let expected = Infinity;
let onComplete = (): void => undefined;

function count(): void {
  lastMs = performance.now();
  if (calls++ === 0) firstMs = lastMs;
  if (calls >= expected) onComplete();
}

const redis = connectRedis({ requester: upstashRequester(process.env['BENCH_REDIS_URL'] ?? '') });
const guarded = nodeWebhook(
  {
    secrets: [process.env['BENCH_SECRET'] ?? ''],
    subscription: 'bench',
    guard: createRedisGuard(redis),
  },
  async () => undefined,
);

function answerAtOnce(response: ServerResponse): void {
  count();
  response.writeHead(200, { 'content-length': 0 }).end();
}

const server = createServer((request, response) => {
  if (request.url === '/guarded') {
    return void guarded(request, response).then(() => response.statusCode === 200 && count());
  }
  request.resume();
  request.on('end', () => answerAtOnce(response));
});

/** Counts from here on. */
function expectCalls(expectation: Expectation): Promise<ReceiverReport> {
  calls = 0;
  expected = expectation.calls;
  return new Promise((resolve) => {
    onComplete = () => {
      clearTimeout(timer);
      expected = Infinity;
      resolve({ calls, seconds: (lastMs - firstMs) / 1000 });
    };
    const timer = setTimeout(onComplete, expectation.deadlineMs);
  });
}

answerQuestions(expectCalls);
server.listen(0, '127.0.0.1', () => {
  console.info(`listens at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
