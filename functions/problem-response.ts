/**
 * A Problem as an answer (RFC 9457, `application/problem+json`):
 *
 *   type     `/problems/<kind>`: a relative reference with a full path (RFC 9457 §3.1.1), so it resolves on the very
 *            deployment that answered, which describes the kind there
 *   title, status, detail
 *   errors   the single faults, each `{at, detail}`
 *   traceId  with every 5xx: what to look for in the log; the same as `X-Request-Id`
 *
 * A 5xx of unknown cause says nothing about it. A 503 keeps its detail: it is written for clients.
 */
import { asProblem, problemKinds } from '../shared/problem.ts';
import type { Problem, ProblemKind } from '../shared/problem.ts';
import type { Answer } from './answer.ts';

/** One line about a request that failed on our side. Never holds a secret. */
export interface LogEntry {
  readonly level: 'error';
  readonly event: 'request-failed';
  readonly traceId: string;
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly problem: ProblemKind;
  readonly detail: string;
  readonly cause?: string;
}

export type Log = (entry: LogEntry) => void;

export function answerProblem(error: unknown, traceId: string): Answer {
  const problem = asProblem(error);
  const { retryAfterSeconds, headers } = problem.extras;
  const document = { ...problemDocument(problem), ...(problem.status >= 500 ? { traceId } : {}) };
  const retryAfter =
    retryAfterSeconds === undefined ? {} : { 'retry-after': String(Math.ceil(retryAfterSeconds)) };
  return {
    status: problem.status,
    contentType: 'application/problem+json',
    body: JSON.stringify(document),
    headers: { ...headers, ...retryAfter },
  };
}

/** What clients may see of a problem. */
export function problemDocument(problem: Problem): Readonly<Record<string, unknown>> {
  const { faults } = problem.extras;
  return {
    type: problemType(problem.kind),
    title: problem.title,
    status: problem.status,
    detail: publicDetail(problem),
    ...(faults === undefined || faults.length === 0 ? {} : { errors: faults }),
  };
}

function problemType(kind: ProblemKind): string {
  return `/problems/${kind}`;
}

/** What `GET /problems/{kind}` says; undefined for a kind nobody knows. */
export function describeProblem(kind: string): object | undefined {
  if (!Object.hasOwn(problemKinds, kind)) return undefined;
  const known = kind as ProblemKind;
  return { type: problemType(known), ...problemKinds[known] };
}

/** The log line of a failed request; undefined when the fault is the client's. */
export function logEntryOf(
  error: unknown,
  request: Pick<LogEntry, 'traceId' | 'method' | 'route'>,
): LogEntry | undefined {
  const problem = asProblem(error);
  if (problem.status < 500) return undefined;
  const { cause } = problem;
  return {
    level: 'error',
    event: 'request-failed',
    ...request,
    status: problem.status,
    problem: problem.kind,
    detail: redact(problem.message),
    ...(cause === undefined
      ? {}
      : { cause: redact(cause instanceof Error ? (cause.stack ?? cause.message) : 'not an Error') }),
  };
}

/** Takes out what must not reach a log: keys, signing secrets, bearer tokens, passwords in URLs. */
function redact(text: string): string {
  return text
    .replaceAll(/\bsk_[0-9a-z]{12}_[0-9a-z]+/gi, 'sk_…')
    .replaceAll(/\b(whsec_|whsk_)[\w+/=-]+/g, '$1…')
    .replaceAll(/\bbearer\s+\S+/gi, 'Bearer …')
    .replaceAll(/(\w+:\/\/)[^\s/@]*@/g, '$1…@');
}

function publicDetail(problem: Problem): string {
  if (problem.status < 500 || problem.status === 503) return problem.message;
  return 'Something failed on our side. Try again; if it persists, ask with the traceId.';
}
