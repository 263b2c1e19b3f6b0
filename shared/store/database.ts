/**
 * One Postgres database over HTTP: the only file that knows the Neon driver. Every query is one round trip; several
 * statements that must stand together go through `transaction`. On Node the "HTTP" is a function call into `pg`; on
 * workerd it is Neon itself or a bridge that speaks its protocol.
 */
import { neon, neonConfig, NeonDbError, type NeonQueryFunction } from '@neondatabase/serverless';
import { Problem } from '../problem.ts';

/** Tagged template: every `${value}` becomes a parameter, never text. */
export type Sql = NeonQueryFunction<false, false>;

/** What the driver hands to its fetch function, and what it reads of the answer. */
export interface QueryRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
}
export interface QueryResponse {
  readonly ok: boolean;
  readonly status: number;
  json(): Promise<unknown>;
  text(): Promise<string>;
}

export interface DatabaseTransport {
  /** Endpoint that speaks Neon's protocol; without it the one Neon derives from the host name. */
  readonly endpoint?: string;
  readonly fetch?: (url: string, request: QueryRequest) => Promise<QueryResponse>;
  /** Longest time for one round trip, in milliseconds. */
  readonly timeoutMs: number;
}

/** A caller that waits longer has long moved on to the next SET. */
export const defaultDatabaseTimeoutMs = 2_500;

/**
 * Chooses how queries travel, for the whole process: the driver keeps this setting globally. Called once by a shell,
 * before the first query.
 */
export function configureDatabases(transport: DatabaseTransport): void {
  const send = transport.fetch ?? ((url: string, request: QueryRequest) => fetch(url, request));
  if (transport.endpoint !== undefined) neonConfig.fetchEndpoint = transport.endpoint;
  neonConfig.fetchFunction = (url: string, request: Omit<QueryRequest, 'signal'>) =>
    send(url, { ...request, signal: AbortSignal.timeout(transport.timeoutMs) });
}

export function openDatabase(url: string): Sql {
  return neon(url, { disableWarningInBrowsers: true });
}

/** SQLSTATE classes that say the database is not there, rather than that the query is wrong. */
const unavailableClasses = ['08', '53', '57'];

/** Raised by `hold_tenure` (migration 0020). */
const fencedCode = 'SW001';
/** Raised by what asks for a fenced SET, or for one that is not being taken over (migration 0023). */
const fenceWantedCode = 'SW002';

/**
 * Awaits a query and turns the driver's errors into Problems: `database-unavailable` when the database did not answer
 * (the statement may have run all the same), `internal` when it refused the statement, `set-fenced` when it holds that
 * the SET must not work (shared/store/tenure.ts).
 */
export async function answerOf<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    const code = error instanceof NeonDbError ? error.code : undefined;
    if (code === fencedCode)
      throw new Problem('set-fenced', 'This SET works no more, for now. Retry the same request.', {
        cause: error,
        retryAfterSeconds: 1,
      });
    if (code === fenceWantedCode)
      throw new Problem(
        'conflict',
        'It is being taken over, or about to be: `setway sets take-over` goes on with it.',
        { cause: error },
      );
    if (code !== undefined && !unavailableClasses.includes(code.slice(0, 2))) {
      throw new Problem('internal', `The database refused a statement (SQLSTATE ${code}).`, { cause: error });
    }
    throw new Problem(
      'database-unavailable',
      'The database did not answer in time. Retry the same request.',
      {
        cause: error,
        retryAfterSeconds: 2,
      },
    );
  }
}
