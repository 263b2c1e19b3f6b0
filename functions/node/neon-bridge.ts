/**
 * The Neon driver's SQL-over-HTTP protocol in front of any Postgres.
 *
 * The driver POSTs `{query, params}`, or `{queries: [...]}` for a transaction, with the connection string in the
 * header `Neon-Connection-String`; it asks for raw text and rows as arrays and converts the types itself. The answer
 * is one result or `{results}`. A fault of the statement is a 400 that carries Postgres' own fields (`code`,
 * `constraint`, ...), so that the driver rebuilds its NeonDbError; a database that is away is a 503.
 *
 * In-process, `bridge.fetch` stands for `fetch`: no socket, no second serialisation. An abort rejects at once with
 * the signal's reason; the connection in use is thrown away, never given to another query, and Postgres is
 * asked to cancel the statement. Whether that statement took effect is then unknown, as with any lost answer.
 */
import pg from 'pg';
import { Problem } from '../../shared/problem.ts';
import { createStatementNames, isNameFault, type StatementNames } from './statement-names.ts';
import { serveBridge, type BridgeAnswer, type BridgeRequest, type BridgeServer } from './bridge-server.ts';

export interface NeonBridgeOptions {
  /** Connections per connection string. 8 saturate two cores; several SETs stay far below max_connections. */
  readonly maxConnections?: number;
  /** How long a query waits for a connection, be it a free one or a new one. */
  readonly connectTimeoutMs?: number;
  /** Told about connections that broke while idle; the pool has replaced them already. */
  readonly onIdleError?: (error: Error) => void;
}

/** What the driver passes to its fetch function. */
export interface NeonRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal?: AbortSignal | null;
}

/** The part of a Response that the driver reads. */
export interface NeonResponse {
  readonly ok: boolean;
  readonly status: number;
  json(): Promise<unknown>;
  text(): Promise<string>;
}

export interface NeonBridge {
  /** For `neonConfig.fetchFunction`. Rejects with the signal's reason, or with `database-unavailable`. */
  readonly fetch: (url: string, request: NeonRequest) => Promise<NeonResponse>;
  /** Lets running queries finish and closes every connection. */
  close(): Promise<void>;
}

interface Statement {
  readonly query: string;
  readonly params?: readonly unknown[];
}

type Headers = Readonly<Record<string, string | undefined>>;

interface Database {
  readonly pool: pg.Pool;
  readonly names: StatementNames;
}
type Databases = Map<string, Database>;

type Settings = Required<NeonBridgeOptions>;

const defaults: Settings = { maxConnections: 8, connectTimeoutMs: 2_000, onIdleError: () => {} };

/**
 * The in-process bridge.
 *
 * @example
 * const bridge = createNeonBridge();
 * neonConfig.fetchFunction = bridge.fetch;
 * const sql = neon('postgres://user@127.0.0.1:5432/app');
 */
export function createNeonBridge(options: NeonBridgeOptions = {}): NeonBridge {
  const settings = { ...defaults, ...options };
  const databases: Databases = new Map();
  return {
    fetch: async (_url, request) => {
      const headers = lowerCased(request.headers);
      return toResponse(
        await answerQuery(databaseFor(databases, settings, headers), { ...request, headers }),
      );
    },
    close: () => closeAll(databases),
  };
}

/**
 * The same over HTTP, for runtimes without TCP to Postgres: set `neonConfig.fetchEndpoint` to `${server.url}/sql`.
 *
 * @param port on 127.0.0.1; 0 takes a free one
 */
export async function serveNeonBridge(port: number, options: NeonBridgeOptions = {}): Promise<BridgeServer> {
  const settings = { ...defaults, ...options };
  const databases: Databases = new Map();
  const server = await serveBridge(port, (request) => answerHttp(databases, settings, request));
  const close = async () => {
    await server.close();
    await closeAll(databases);
  };
  return { url: server.url, close };
}

async function answerHttp(
  databases: Databases,
  settings: Settings,
  request: BridgeRequest,
): Promise<BridgeAnswer> {
  if (request.headers['neon-connection-string'] === undefined) {
    return { status: 400, json: { message: 'The header Neon-Connection-String is missing.' } };
  }
  try {
    return await answerQuery(databaseFor(databases, settings, request.headers), request);
  } catch (error) {
    if (error instanceof Problem) return { status: error.status, json: { message: error.message } };
    if (error instanceof SyntaxError)
      return { status: 400, json: { message: 'The body is not valid JSON.' } };
    throw error;
  }
}

async function answerQuery(
  { pool, names }: Database,
  { headers, body, signal }: { headers: Headers; body: string; signal?: AbortSignal | null | undefined },
): Promise<BridgeAnswer> {
  const request = JSON.parse(body) as Statement | { readonly queries: readonly Statement[] };
  try {
    const json =
      'queries' in request
        ? await lend(pool, signal, (client) => transaction(client, request.queries, beginWith(headers)))
        : await lend(pool, signal, (client) => runPrepared(client, names, request));
    return { status: 200, json };
  } catch (error) {
    if (isStatementFault(error)) return { status: 400, json: toNeonError(error) };
    if (signal?.aborted === true) throw error;
    throw new Problem('database-unavailable', 'Postgres does not answer; it may be stopped or overloaded.', {
      cause: error,
    });
  }
}

/**
 * Two round trips for any number of statements: BEGIN, then everything else at once. BEGIN is awaited, because whatever
 * followed a BEGIN that failed would stand alone. After a fault Postgres refuses the rest and takes COMMIT for a rollback.
 */
async function transaction(client: pg.PoolClient, statements: readonly Statement[], begin: string) {
  await client.query(begin);
  const answers = statements.map((statement) => run(client, statement));
  const [committed, ...results] = await Promise.allSettled([client.query('COMMIT'), ...answers]);
  const fault = [...results, committed].find((result) => result.status === 'rejected');
  if (fault) throw fault.reason;
  return { results: results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])) };
}

/** Under a name, if the statement has one. Never inside a transaction, which a refused name would abort. */
async function runPrepared(client: pg.PoolClient, names: StatementNames, statement: Statement) {
  const { query } = statement;
  const name = names.nameOf(query);
  if (name === undefined) return run(client, statement);
  try {
    return await run(client, statement, name);
  } catch (error) {
    if (!isStatementFault(error) || !isNameFault(error)) throw error;
    names.forget(query);
    return run(client, statement);
  }
}

async function run(client: pg.PoolClient, { query, params = [] }: Statement, name?: string) {
  const statement = { text: query, values: [...params], rowMode: 'array' as const, types: rawText };
  const result = await client.query(name === undefined ? statement : { ...statement, name });
  const { command, rowCount, rows, fields } = result;
  return { command, rowCount, rowAsArray: true, rows, fields: fields.map(toNeonField) };
}

const rawText = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig;

function toNeonField({
  name,
  tableID,
  columnID,
  dataTypeID,
  dataTypeSize,
  dataTypeModifier,
  format,
}: pg.FieldDef) {
  return { name, tableID, columnID, dataTypeID, dataTypeSize, dataTypeModifier, format };
}

const isolationLevels: Readonly<Record<string, string>> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
};

function beginWith(headers: Headers): string {
  const level = isolationLevels[headers['neon-batch-isolation-level'] ?? ''];
  return [
    'BEGIN',
    level === undefined ? '' : `ISOLATION LEVEL ${level}`,
    headers['neon-batch-read-only'] === 'true' ? 'READ ONLY' : '',
    headers['neon-batch-deferrable'] === 'true' ? 'DEFERRABLE' : '',
  ].join(' ');
}

/** Lends a connection to `work`; gives it back only when it is certainly idle and outside a transaction. */
async function lend<T>(
  pool: pg.Pool,
  signal: AbortSignal | null | undefined,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  if (!signal) return lendUntilDone(await pool.connect(), work);
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await lendUnlessAborted(pool, aborted.promise, work);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function lendUntilDone<T>(
  client: pg.PoolClient,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  try {
    const result = await work(client);
    client.release();
    return result;
  } catch (error) {
    client.release(!isStatementFault(error));
    throw error;
  }
}

async function lendUnlessAborted<T>(
  pool: pg.Pool,
  aborted: Promise<never>,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const connecting = pool.connect();
  const client = await Promise.race([connecting, aborted]).catch((error: unknown) => {
    connecting.then((late) => late.release()).catch(() => {}); // the connection came after the abort, or not at all
    throw error;
  });
  const working = work(client);
  try {
    const result = await Promise.race([working, aborted]);
    client.release();
    return result;
  } catch (error) {
    working.catch(() => {}); // its connection is destroyed below; the caller was told the abort's reason
    const isFault = isStatementFault(error);
    client.release(!isFault);
    if (!isFault) cancel(pool, client);
    throw error;
  }
}

/** Asks Postgres to stop a statement nobody waits for; otherwise it would sit on its locks until it ends. */
function cancel(pool: pg.Pool, client: pg.PoolClient): void {
  const { processID } = client as pg.PoolClient & { readonly processID: number | null };
  if (processID === null) return;
  // Best effort: without it the statement ends by itself.
  pool.query('SELECT pg_cancel_backend($1)', [processID]).catch(() => {});
}

function databaseFor(databases: Databases, settings: Settings, headers: Headers): Database {
  const connectionString = headers['neon-connection-string'] ?? '';
  const known = databases.get(connectionString);
  if (known !== undefined) return known;
  const pool = new pg.Pool({
    connectionString,
    max: settings.maxConnections,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    keepAlive: true,
    pipeline: true,
  });
  pool.on('error', settings.onIdleError);
  // A connection that breaks while lent out rejects its query and also emits; unheard, that would end the process.
  pool.on('connect', (client) => client.on('error', () => {}));
  const database = { pool, names: createStatementNames() };
  databases.set(connectionString, database);
  return database;
}

async function closeAll(databases: Databases): Promise<void> {
  const all = [...databases.values()];
  databases.clear();
  await Promise.all(all.map(({ pool }) => pool.end()));
}

/**
 * Did Postgres refuse the statement (the connection is fine), rather than the connection fail?
 * Class 57P and 53300 come from a server that stops, starts or is full: that is an outage.
 */
function isStatementFault(error: unknown): error is pg.DatabaseError {
  if (!(error instanceof pg.DatabaseError)) return false;
  const isOutage =
    error.code === '53300' || error.code?.startsWith('57P') === true || error.code?.startsWith('08') === true;
  return !isOutage;
}

const errorFields = [
  'severity',
  'code',
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const satisfies readonly (keyof pg.DatabaseError)[];

function toNeonError(error: pg.DatabaseError) {
  return {
    message: error.message,
    ...Object.fromEntries(errorFields.map((field) => [field, error[field] ?? null])),
  };
}

function toResponse({ status, json }: BridgeAnswer): NeonResponse {
  return { ok: status === 200, status, json: async () => json, text: async () => JSON.stringify(json) };
}

function lowerCased(headers: Readonly<Record<string, string>>): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
