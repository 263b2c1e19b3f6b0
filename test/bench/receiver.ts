/** A webhook that answers 200 at once, and tells when the expected number of calls has come. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
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

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    lastMs = performance.now();
    if (calls++ === 0) firstMs = lastMs;
    response.writeHead(200, { 'content-length': 0 }).end();
    if (calls >= expected) onComplete();
  });
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
