/**
 * A deployment of Setway on a stack: vhosts, databases, catalog, and the settings of its processes. Names begin with a
 * prefix, so that many deployments share one stack.
 */
import { randomBytes } from 'node:crypto';
import { applySeed } from '../../functions/cli/apply.ts';
import { inventoryTables } from '../../functions/webhooks/inventory.ts';
import { receiptTables } from '../../functions/webhooks/receipt.ts';
import { parseSeed, type SeedInput } from '../../shared/catalog/seed.ts';
import { guardTable } from '../../shared/idempotency/postgres-guard.ts';
import { createSealer } from '../../shared/sealed.ts';
import { openDatabase } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { amqpUrlOf, createDatabase, createVhost, postgresUrlOf, type StackAddresses } from './addresses.ts';
import { demoSeed, demoSets } from './demo-world.ts';
import { templateDatabase } from './template-database.ts';
import { withDatabases } from './with-databases.ts';

export interface Deployment {
  readonly prefix: string;
  readonly apiKey: string;
  readonly seed: SeedInput;
  /** Settings for every process; a shell adds how it reaches Postgres and Redis. */
  readonly settings: Readonly<Record<string, string>>;
  readonly consumerDatabaseUrl: string;
  /** Database of a SET's first shard. */
  readonly databaseUrls: Readonly<Record<string, string>>;
  readonly brokerUrls: Readonly<Record<string, string>>;
}

/** The settings by which a worker reaches the stack: through the bridges. */
export function bridgeSettings({ neonEndpoint, upstash }: StackAddresses): Readonly<Record<string, string>> {
  return {
    SETWAY_NEON_ENDPOINT: neonEndpoint,
    SETWAY_REDIS_REST_URL: upstash.url,
    SETWAY_REDIS_REST_TOKEN: upstash.token,
  };
}

/** The settings by which a Node process reaches the stack: directly. */
export function directSettings({ redisUrl }: StackAddresses): Readonly<Record<string, string>> {
  return { SETWAY_REDIS_URL: redisUrl };
}

/**
 * @param change makes another seed of the demo's
 * @example const deployment = await deploy(stack.addresses, 'demo', (line) => console.log(line));
 */
export async function deploy(
  addresses: StackAddresses,
  prefix: string,
  report: (line: string) => void,
  change: (seed: SeedInput) => SeedInput = (seed) => seed,
): Promise<Deployment> {
  const nameOf = (part: string): string => `${prefix}_${part}`;
  const urls = (urlOf: (name: string) => string) =>
    Object.fromEntries(demoSets.map(({ id }) => [id, urlOf(nameOf(id))]));
  const brokerUrls = urls((name) => amqpUrlOf(addresses, name));
  await Promise.all(demoSets.map(({ id }) => createVhost(addresses, nameOf(id))));
  return deployOn({ addresses, prefix, sets: demoSets.map(({ id }) => id), brokerUrls }, report, change);
}

/** Where a deployment is to be. The vhosts are there already; the databases need not be. */
export interface Ground {
  /** Of Postgres. */
  readonly addresses: StackAddresses;
  readonly prefix: string;
  /** Ids of SETs of the demo world, the center of the catalog first. */
  readonly sets: readonly string[];
  readonly brokerUrls: Readonly<Record<string, string>>;
}

/** @param change makes another seed of the demo's, before what it names is created */
export async function deployOn(
  { addresses, prefix, sets, brokerUrls }: Ground,
  report: (line: string) => void,
  change: (seed: SeedInput) => SeedInput,
): Promise<Deployment> {
  const nameOf = (part: string): string => `${prefix}_${part}`;
  const databaseUrls = Object.fromEntries(sets.map((id) => [id, postgresUrlOf(addresses, nameOf(id))]));
  const consumerDatabaseUrl = postgresUrlOf(addresses, nameOf('consumers'));
  const template = await templateDatabase(addresses);
  await Promise.all([
    ...sets.map((part) => createDatabase(addresses, nameOf(part), template)),
    createDatabase(addresses, nameOf('consumers')),
  ]);
  const demo = demoSeed({
    brokerUrl: (set) => brokerUrls[set] ?? '',
    databaseUrl: (set) => databaseUrls[set] ?? '',
  });
  const seed = change(demo.seed);
  const encryptionKey = randomBytes(32);
  const catalogUrls = Object.values(databaseUrls);
  const policy = { allowHttp: true, allowLoopback: true, ownHosts: [] };
  await withDatabases(async () => {
    await applySeed({ sealer: createSealer([encryptionKey]), catalogUrls, report, policy }, parseSeed(seed));
    await createConsumerTables(consumerDatabaseUrl);
  });
  const settings = {
    SETWAY_CATALOG_DATABASES: catalogUrls.join(','),
    SETWAY_ENCRYPTION_KEYS: encryptionKey.toString('base64'),
    SETWAY_WEBHOOK_DATABASE: consumerDatabaseUrl,
    SETWAY_PRIVATE_WEBHOOKS: 'allow',
    SETWAY_REDIS_PREFIX: `${prefix}:`,
  };
  return { prefix, apiKey: demo.apiKey, seed, settings, consumerDatabaseUrl, databaseUrls, brokerUrls };
}

/** A prefix nobody else has: a stack that keeps running serves many runs. */
export function freshPrefix(topic: string): string {
  return `${topic}-${crypto.randomUUID().slice(0, 8)}`;
}

/** Applies migrations that are newer than the deployment. @throws Problem when a database of it is not there */
export async function upgrade(
  { databaseUrls, consumerDatabaseUrl }: Deployment,
  report: (line: string) => void,
): Promise<void> {
  await withDatabases(async () => {
    for (const [set, url] of Object.entries(databaseUrls)) {
      const applied = await migrate(openDatabase(url));
      if (applied.length > 0) report(`${set}: migrated (${applied.join(', ')})`);
    }
    await createConsumerTables(consumerDatabaseUrl);
  });
}

async function createConsumerTables(url: string): Promise<void> {
  const consumers = openDatabase(url);
  const statements = `${inventoryTables}${receiptTables}${guardTable}`
    .split(';')
    .filter((text) => text.trim() !== '');
  await consumers.transaction(statements.map((text) => consumers.query(text)));
}
