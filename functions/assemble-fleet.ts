/** Marries the control plane's stories to their machines. */
import { randomBytes } from 'node:crypto';
import { connectBroker } from '../shared/broker/rabbitmq.ts';
import type { Broker } from '../shared/broker/broker.ts';
import type { CatalogWriter } from '../shared/catalog/catalog-writer.ts';
import { systemClock } from '../shared/clock.ts';
import type { FleetParts, SetDatabase } from '../shared/fleet/fleet.ts';
import { Problem } from '../shared/problem.ts';
import type { Sealer } from '../shared/sealed.ts';
import { copyCatalog, readDocument, readRates } from '../shared/store/catalog.ts';
import { openDatabase } from '../shared/store/database.ts';
import { readLeft, readSnapshotVersion, readTenants } from '../shared/store/left.ts';
import { migrate, missingMigrations } from '../shared/store/migrate.ts';
import { setTenure } from '../shared/store/tenure.ts';
import { keepUndelivered, readUndelivered } from '../shared/store/undelivered.ts';
import { openManagement } from '../shared/topology/rabbitmq-management.ts';

export interface FleetWorld {
  readonly sealer: Sealer;
  readonly writer: CatalogWriter;
  /** Databases that hold the catalog, the center's first. */
  readonly catalogUrls: readonly string[];
  readonly report: (line: string) => void;
}

/** @example await createSet(createFleet({ sealer, writer, catalogUrls, report }), wanted) */
export function createFleet({ sealer, writer, catalogUrls, report }: FleetWorld): FleetParts {
  const [center, ...others] = catalogUrls.map((url) => openDatabase(url));
  const newest: FleetParts['center'] = async () => {
    const found = center && (await readDocument(center));
    if (found) return found;
    throw new Problem('set-unavailable', 'There is no catalog yet. Write one with `setway apply seed.json`.');
  };
  return {
    clock: systemClock,
    sealer,
    writer,
    report,
    center: newest,
    rates: async () => (center ? readRates(center) : new Map()),
    async spread() {
      const { document } = await newest();
      const firsts = document.sets.map(({ databaseUrls }) => sealer.open(databaseUrls[0] ?? ''));
      if (center) await copyCatalog([center], [...others, ...[...new Set(firsts)].map(openDatabase)]);
    },
    management: (url) => openManagement({ fetch: (...request) => fetch(...request) }, url),
    withBroker,
    database,
    // 32 characters of base64: as long as anybody could guess at.
    newPassword: () => randomBytes(24).toString('base64url'),
  };
}

function database(url: string): SetDatabase {
  const { host, pathname } = new URL(url);
  const at = `${host}${pathname}`;
  const sql = openDatabase(url);
  return {
    at,
    missing: () => named(at, missingMigrations(sql)),
    migrate: () => named(at, migrate(sql)),
    snapshotVersion: () => named(at, readSnapshotVersion(sql)),
    tenants: () => named(at, readTenants(sql)),
    left: (set) => named(at, readLeft(sql, set)),
    setTenure: async (set, state) => void (await named(at, setTenure([sql], set, state))),
    undelivered: (page) => named(at, readUndelivered(sql, page)),
    keep: (rows) => named(at, keepUndelivered(sql, rows)),
  };
}

/** What Postgres says before it takes a statement (SQLSTATE), and what to do about it. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [/SQLSTATE 3D000/, 'does not exist. Create it (empty) and do the same again.'],
  [/SQLSTATE 28/, 'refuses user or password. Look at the URL.'],
  [/SQLSTATE 42501/, 'does not let its user create tables. Make it the owner of the database.'],
];

/** Of several databases, the one that fails is what the operator must know. */
async function named<T>(at: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const refusal = refusals.find(([state]) => state.test(error.message));
    if (refusal) throw new Problem('conflict', `The database ${at} ${refusal[1]}`, { cause: error });
    if (error.kind !== 'database-unavailable') throw error;
    const detail = `The database ${at} does not answer. Is the server up and reachable from here? Then do the same again.`;
    throw new Problem('database-unavailable', detail, { cause: error, retryAfterSeconds: 5 });
  }
}

/** Two connections to a broker nearby take 20 ms, over an ocean a second. */
const connectedWithinMs = 6_000;
const lookEveryMs = 20;

async function withBroker<T>(urls: readonly string[], work: (broker: Broker) => Promise<T>): Promise<T> {
  let why = 'no answer';
  const broker = connectBroker({
    urls,
    heartbeatSeconds: 10,
    connectTimeoutMs: 3_000,
    clock: systemClock,
    onEvent: (event) => {
      if (event.kind === 'connect-failed' || event.kind === 'disconnected') why = event.reason;
    },
  });
  try {
    const endMs = systemClock.nowMs() + connectedWithinMs;
    while (broker.state !== 'connected' && systemClock.nowMs() < endMs)
      await new Promise<void>((resolve) => void systemClock.after(lookEveryMs, resolve));
    if (broker.state !== 'connected') {
      const hosts = urls.map((url) => new URL(url).host).join(', ');
      throw new Problem(
        'broker-unavailable',
        `RabbitMQ at ${hosts} takes no connection (${why}). Is it the AMQP port of the cluster that the management URL names?`,
        { retryAfterSeconds: 5 },
      );
    }
    return await work(broker);
  } finally {
    await broker.close();
  }
}
