/**
 * The one error. Everything that can go wrong in Setway is a `Problem`; foreign errors become Problems in the
 * file that touches the foreign library. HTTP answers are `application/problem+json` (RFC 9457).
 */

/** Every kind of problem: HTTP status, a short title, and whether the same request may succeed later. */
export const problemKinds = {
  'invalid-json': { status: 400, title: 'The body is not valid JSON', retryable: false },
  'invalid-request': { status: 422, title: 'The request breaks a rule', retryable: false },
  'invalid-settings': { status: 500, title: 'The settings are not usable', retryable: false },
  unauthenticated: { status: 401, title: 'No valid API key', retryable: false },
  forbidden: { status: 403, title: 'The API key lacks a scope', retryable: false },
  'not-found': { status: 404, title: 'There is no such thing', retryable: false },
  'method-not-allowed': { status: 405, title: 'This method is not offered here', retryable: false },
  'request-timeout': { status: 408, title: 'The request did not arrive in time', retryable: true },
  'in-flight': { status: 409, title: 'The same request is being handled now', retryable: true },
  conflict: { status: 409, title: 'The state does not allow this', retryable: false },
  'precondition-failed': {
    status: 412,
    title: 'Somebody else has changed it since it was read',
    retryable: false,
  },
  'too-large': { status: 413, title: 'The request is too large', retryable: false },
  'uri-too-long': { status: 414, title: 'The URL is too long', retryable: false },
  'unsupported-media-type': {
    status: 415,
    title: 'This content type or encoding is not accepted',
    retryable: false,
  },
  'key-reused': {
    status: 422,
    title: 'This idempotency key was used with another request',
    retryable: false,
  },
  'precondition-required': {
    status: 428,
    title: 'Say which version is meant (If-Match)',
    retryable: false,
  },
  'rate-limited': { status: 429, title: 'More than a limit lets through', retryable: true },
  'headers-too-large': { status: 431, title: 'The header fields are too large', retryable: false },
  'destination-refused': { status: 422, title: 'This destination is not allowed', retryable: false },
  internal: { status: 500, title: 'Something failed on our side', retryable: true },
  'database-unavailable': { status: 503, title: 'The database does not answer', retryable: true },
  'broker-unavailable': { status: 503, title: 'The broker does not answer', retryable: true },
  'copy-unavailable': { status: 503, title: 'No other SET keeps a copy now', retryable: true },
  'redis-unavailable': { status: 503, title: 'Redis does not answer', retryable: true },
  'set-fenced': { status: 503, title: 'This SET works no more, for now', retryable: true },
  misrouted: { status: 503, title: 'Another SET has this lane now', retryable: true },
  'set-unavailable': { status: 503, title: 'No SET can take this now', retryable: true },
} as const satisfies Record<string, { status: number; title: string; retryable: boolean }>;

export type ProblemKind = keyof typeof problemKinds;

export interface ProblemExtras {
  readonly cause?: unknown;
  /** Whole seconds after which a retry makes sense; becomes the `Retry-After` header. */
  readonly retryAfterSeconds?: number;
  /** Single faults, each with the place (JSON pointer, header or field name) and what to do. */
  readonly faults?: readonly Fault[];
  /** Further header fields of the HTTP answer, such as `allow` for a 405. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Fault {
  readonly at: string;
  readonly detail: string;
}

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly kind: ProblemKind;
  readonly extras: ProblemExtras;

  /**
   * @param detail what is wrong and the remedy, for the one who sent the request; never a secret
   * @example throw new Problem('not-found', 'There is no topic "order". Did you mean "orders"?');
   */
  constructor(kind: ProblemKind, detail: string, extras: ProblemExtras = {}) {
    super(detail, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.kind = kind;
    this.extras = extras;
  }

  get status(): number {
    return problemKinds[this.kind].status;
  }

  get title(): string {
    return problemKinds[this.kind].title;
  }

  get retryable(): boolean {
    return problemKinds[this.kind].retryable;
  }
}

/** A Problem as plain data: what survives a structured clone, for links that cross a process or an isolate. */
export interface ProblemData {
  readonly kind: ProblemKind;
  readonly detail: string;
  readonly retryAfterSeconds?: number;
}

export function toProblemData(error: unknown): ProblemData {
  const problem = asProblem(error);
  const { retryAfterSeconds } = problem.extras;
  return {
    kind: problem.kind,
    detail: problem.message,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}

export function fromProblemData(data: ProblemData): Problem {
  return new Problem(
    data.kind,
    data.detail,
    data.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: data.retryAfterSeconds },
  );
}

/** Any thrown value as a Problem; what is not one already becomes `internal` with the original as cause. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem('internal', error instanceof Error ? error.message : String(error), { cause: error });
}
