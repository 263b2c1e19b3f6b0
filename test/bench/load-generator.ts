/**
 * The load generator: a number of keep-alive connections, each with one request under way. It writes prepared bytes to
 * sockets and keeps every latency; a client library would need more CPU than the servers it measures.
 */
import { connect, type Socket } from 'node:net';
import { answerQuestions } from './child.ts';
import { createAnswerReader } from './http-answers.ts';
import type { LoadPlan, LoadReport } from './load.ts';

/** What stands where the number of the request goes, of the same length. */
const numberMark = '{number---}';
const answerDeadlineMs = 10_000;

interface Run {
  readonly plan: LoadPlan;
  /** Writes the next request, or undefined when it is over. */
  readonly next: () => Buffer | undefined;
  readonly onAnswer: (status: number, sentAtMs: number) => void;
}

function run(plan: LoadPlan): Promise<LoadReport> {
  const startedMs = performance.now();
  const countFromMs = startedMs + plan.warmupSeconds * 1000;
  const endMs = countFromMs + plan.seconds * 1000;
  const latenciesMs: number[] = [];
  const refusals: Record<string, number> = {};
  let sent = 0;
  let answers = 0;
  let allAnswers = 0;
  let lastAnswerMs = countFromMs;
  const write = requestWriter(plan);
  const all: Run = {
    plan,
    next: () => (performance.now() >= endMs || sent >= plan.maxRequests ? undefined : write(sent++)),
    onAnswer(status, sentAtMs) {
      const nowMs = performance.now();
      allAnswers++;
      if (nowMs < countFromMs || (nowMs > endMs && plan.maxRequests === Infinity)) return;
      if (status >= 300) return void (refusals[status] = (refusals[status] ?? 0) + 1);
      answers++;
      lastAnswerMs = nowMs;
      latenciesMs.push(nowMs - sentAtMs);
    },
  };
  return Promise.all(Array.from({ length: plan.connections }, () => drive(all))).then(() => ({
    answers,
    allAnswers,
    refusals,
    seconds: (Math.min(lastAnswerMs, endMs) - countFromMs) / 1000,
    latenciesMs: Float64Array.from(latenciesMs),
  }));
}

/** One connection, from its first request to its last answer. */
function drive({ plan, next, onAnswer }: Run): Promise<void> {
  const { hostname, port } = new URL(plan.url);
  return new Promise((resolve, reject) => {
    let sentAtMs = 0;
    const socket: Socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const send = (): void => {
      const request = next();
      if (!request) {
        socket.destroy();
        return resolve();
      }
      sentAtMs = performance.now();
      socket.write(request);
    };
    socket.setTimeout(answerDeadlineMs, () =>
      socket.destroy(new Error(`No answer within ${answerDeadlineMs} ms from ${plan.url}`)),
    );
    const read = createAnswerReader((status) => {
      onAnswer(status, sentAtMs);
      send();
    });
    socket.on('connect', send).on('data', read).on('error', reject);
    socket.on('close', () => reject(new Error(`${plan.url} closed a connection`)));
  });
}

/** The request's bytes; with a mark in its headers a copy per request. */
function requestWriter({ url, path, headers, body }: LoadPlan): (count: number) => Buffer {
  const lines = Object.entries({
    host: new URL(url).host,
    ...headers,
    'content-length': Buffer.byteLength(body),
  });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const request = Buffer.from(`POST ${path} HTTP/1.1\r\n${head}\r\n${body}`);
  const at = request.indexOf(numberMark);
  if (at === -1) return () => request;
  return (count) => {
    const copy = Buffer.from(request);
    copy.write(String(count).padStart(numberMark.length, '0'), at, 'latin1');
    return copy;
  };
}

answerQuestions((plan: LoadPlan) => run(plan).catch((error: unknown) => ({ error: String(error) })));
console.info('is ready');
