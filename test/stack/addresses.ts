/** The addresses of a running stack, as plain data that fits into one environment variable, and what hangs on them. */
import pg from 'pg';
import { callManagement } from './rabbitmq.ts';

export interface StackAddresses {
  readonly portBase: number;
  readonly dir: string;
  /** Without a vhost. */
  readonly amqpUrl: string;
  /** RabbitMQ's management API, with user and password. */
  readonly managementUrl: string;
  readonly redisUrl: string;
  /** The maintenance database, as a user who may create others. */
  readonly postgresUrl: string;
  /** For `neonConfig.fetchEndpoint`. */
  readonly neonEndpoint: string;
  readonly upstash: { readonly url: string; readonly token: string };
}

/** @example amqpUrlOf(addresses, 'hangzhou') // amqp://guest:guest@127.0.0.1:18700/hangzhou */
export function amqpUrlOf({ amqpUrl }: Pick<StackAddresses, 'amqpUrl'>, vhost: string): string {
  const url = new URL(amqpUrl);
  url.pathname = `/${encodeURIComponent(vhost)}`;
  return url.href;
}

export function postgresUrlOf({ postgresUrl }: StackAddresses, database: string): string {
  const url = new URL(postgresUrl);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

/** Vhosts made by this process, to be removed by it. */
const ownVhosts: { readonly managementUrl: string; readonly vhost: string }[] = [];

/** Creates the vhost and lets the stack's user do everything in it; one that exists stays as it is. */
export async function createVhost({ managementUrl }: StackAddresses, vhost: string): Promise<void> {
  const name = encodeURIComponent(vhost);
  const user = encodeURIComponent(decodeURIComponent(new URL(managementUrl).username));
  await callManagement(managementUrl, 'PUT', `/api/vhosts/${name}`, {});
  const everything = { configure: '.*', write: '.*', read: '.*' };
  await callManagement(managementUrl, 'PUT', `/api/permissions/${name}/${user}`, everything);
  ownVhosts.push({ managementUrl, vhost });
}

/** Removes the vhosts this process has made: each one that stays costs RabbitMQ processor time. */
export async function removeOwnVhosts(): Promise<void> {
  const removals = ownVhosts
    .splice(0)
    .map(({ managementUrl, vhost }) =>
      callManagement(managementUrl, 'DELETE', `/api/vhosts/${encodeURIComponent(vhost)}`),
    );
  // A stack that was a file's own is gone by now, and its vhosts with it.
  await Promise.allSettled(removals);
}

/**
 * Creates a database; one that exists stays as it is.
 *
 * @param template a database that nobody is connected to; without it, the new one is empty
 */
export async function createDatabase(
  addresses: StackAddresses,
  database: string,
  template = 'template1',
): Promise<void> {
  const name = pg.escapeIdentifier(database);
  await makeName(addresses, `CREATE DATABASE ${name} TEMPLATE ${pg.escapeIdentifier(template)}`);
}

export async function hasDatabase(addresses: StackAddresses, database: string): Promise<boolean> {
  const rows = await maintain(
    addresses,
    `SELECT FROM pg_database WHERE datname = ${pg.escapeLiteral(database)}`,
  );
  return rows > 0;
}

/** @returns whether it has the name now; false when another one has it */
export function renameDatabase(addresses: StackAddresses, from: string, to: string): Promise<boolean> {
  return makeName(
    addresses,
    `ALTER DATABASE ${pg.escapeIdentifier(from)} RENAME TO ${pg.escapeIdentifier(to)}`,
  );
}

/** Removes a database, whoever is still connected to it; one that is not there is fine. */
export async function dropDatabase(addresses: StackAddresses, database: string): Promise<void> {
  await maintain(addresses, `DROP DATABASE IF EXISTS ${pg.escapeIdentifier(database)} WITH (FORCE)`);
}

/** @returns whether the statement gave the name; false when a database had it */
async function makeName(addresses: StackAddresses, statement: string): Promise<boolean> {
  try {
    await maintain(addresses, statement);
    return true;
  } catch (error) {
    const isThere = error instanceof pg.DatabaseError && error.code === '42P04';
    if (!isThere) throw error;
    return false;
  }
}

/** @returns the number of rows it found */
async function maintain({ postgresUrl }: StackAddresses, statement: string): Promise<number> {
  const client = new pg.Client({ connectionString: postgresUrl, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    return (await client.query(statement)).rowCount ?? 0;
  } finally {
    await client.end();
  }
}
