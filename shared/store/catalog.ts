/**
 * The catalog in Postgres: written by the center as one versioned document, copied to every SET's database, read from
 * the first database that answers. Beside it the registry of hosts and what the prober last saw.
 */
import type { Catalog, CatalogSource } from '../catalog/catalog.ts';
import { compileCatalog, type CatalogDocument, type SetsSeen } from '../catalog/document.ts';
import type { KeptVersion } from '../catalog/listening.ts';
import type { Clock } from '../clock.ts';
import { asProblem, Problem } from '../problem.ts';
import type { Sealer } from '../sealed.ts';
import type { SetHealth } from '../sets/set.ts';
import type { Stop } from '../sets/set-link.ts';
import type { Beat, TenureState } from '../sets/tenure.ts';
import { answerOf, type Sql } from './database.ts';
import { numberOrNull, text } from './rows.ts';

export interface VersionedDocument {
  readonly version: number;
  readonly document: CatalogDocument;
}

export async function readDocument(sql: Sql): Promise<VersionedDocument | undefined> {
  const [row] = await answerOf(sql`SELECT version, document FROM catalog ORDER BY version DESC LIMIT 1`);
  return row && { version: Number(row['version']), document: row['document'] as CatalogDocument };
}

/** Keeps a version; a version that is there already stays as it is. Older versions than the last twenty go. */
async function writeDocument(sql: Sql, { version, document }: VersionedDocument): Promise<void> {
  await answerOf(sql`
    WITH kept AS (
      INSERT INTO catalog (version, document) VALUES (${version}, ${JSON.stringify(document)}::jsonb)
      ON CONFLICT (version) DO NOTHING
    )
    DELETE FROM catalog WHERE version < ${version - 20}`);
}

/**
 * Writes the next version at the center (compare-and-set on the version).
 * @throws Problem `conflict` when somebody else wrote it first
 */
export async function appendDocument(sql: Sql, { version, document }: VersionedDocument): Promise<void> {
  const rows = await answerOf(sql`
    INSERT INTO catalog (version, document)
    SELECT ${version}::bigint, ${JSON.stringify(document)}::jsonb
    WHERE ${version}::bigint > (SELECT coalesce(max(version), 0) FROM catalog)
    ON CONFLICT (version) DO NOTHING RETURNING version`);
  if (rows.length === 0)
    throw new Problem(
      'conflict',
      `Somebody else wrote version ${version} of the catalog. Read it and apply again.`,
    );
}

/** The newest document of the first source that answers, into every copy that lacks it. Returns how many were written. */
export async function copyCatalog(sources: readonly Sql[], copies: readonly Sql[]): Promise<number> {
  const newest = await firstAnswer(sources, readDocument);
  if (!newest) return 0;
  const written = await Promise.allSettled(
    copies.map(async (copy) => {
      const known = await readDocument(copy);
      if (known && known.version >= newest.version) return 0;
      await writeDocument(copy, newest);
      return 1;
    }),
  );
  // A copy that is away is written at the next probe.
  return written.reduce((sum, result) => sum + (result.status === 'fulfilled' ? result.value : 0), 0);
}

interface Reading extends VersionedDocument {
  readonly seen: SetsSeen;
}

/** The subscriptions of every version that is kept, the newest first. */
export async function readKeptVersions(sql: Sql): Promise<readonly KeptVersion[]> {
  const rows = await answerOf(sql`
    SELECT extract(epoch FROM applied_at) * 1000 AS applied_ms, (
      SELECT coalesce(json_agg(json_build_object('name', s->>'name', 'topic', s->>'topic', 'bindings', s->'bindings', 'filter', s->>'filter', 'since', s->'since')), '[]')
      FROM jsonb_array_elements(document->'subscriptions') AS s) AS subscriptions
    FROM catalog ORDER BY version DESC LIMIT 21`);
  return rows.map((row) => ({
    appliedAtMs: Number(row['applied_ms']),
    subscriptions: row['subscriptions'] as KeptVersion['subscriptions'],
  }));
}

/** Of a SET that nobody has looked at for so long the rate is not known. Five runs of `probe-sets`. */
const rateExpirySeconds = 300;

/** Document, health and rates in one round trip. */
async function read(sql: Sql, newerThan: number): Promise<Partial<Reading>> {
  const [row] = await answerOf(sql`
    SELECT (SELECT json_object_agg(set_id, health) FROM set_health) AS health,
      (SELECT json_object_agg(set_id, rate) FROM set_health
        WHERE rate IS NOT NULL AND checked_at > now() - make_interval(secs => ${rateExpirySeconds})) AS rates,
      c.version, c.document
    FROM (SELECT 1) one LEFT JOIN LATERAL (
      SELECT version, document FROM catalog WHERE version > ${newerThan} ORDER BY version DESC LIMIT 1) c ON true`);
  const health = (row?.['health'] ?? {}) as Record<string, SetHealth>;
  const rates = (row?.['rates'] ?? {}) as Record<string, number>;
  const seen = { health, rates };
  const version: unknown = row?.['version'];
  if (version === null || version === undefined) return { seen };
  return { seen, version: Number(version), document: row?.['document'] as CatalogDocument };
}

export interface CatalogSourceParts {
  /** The center's database first. */
  readonly databases: readonly Sql[];
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly maxAgeMs: number;
  /** Keeps a refresh alive beyond the request that began it (Cloudflare's `waitUntil`). */
  readonly inBackground: (work: Promise<unknown>) => void;
}

export interface RenewableCatalog extends CatalogSource {
  renew(): Promise<Catalog>;
}

/**
 * A catalog that is never waited for but the first time: a reader gets the last one and, when it is old, begins a
 * refresh behind its back. Values are shared between requests, promises never: a worker's promise belongs to the
 * request that made it.
 */
export function createCatalogSource(parts: CatalogSourceParts): RenewableCatalog {
  let kept: { readonly catalog: Catalog; readonly document: CatalogDocument } | undefined;
  let refreshedAtMs = 0;

  const refresh = async (): Promise<Catalog> => {
    refreshedAtMs = parts.clock.nowMs();
    const newerThan = kept?.catalog.version ?? 0;
    const found = await firstAnswer(parts.databases, (sql) => read(sql, newerThan));
    const document = found.document ?? kept?.document;
    const version = found.version ?? kept?.catalog.version;
    if (!document || version === undefined) {
      throw new Problem(
        'set-unavailable',
        'There is no catalog yet. Write one with `setway apply seed.json`.',
      );
    }
    kept = { document, catalog: compileCatalog(version, document, found.seen ?? {}, parts.sealer) };
    return kept.catalog;
  };

  return {
    renew: refresh,
    async current() {
      if (!kept) return refresh();
      const isOld = parts.clock.nowMs() - refreshedAtMs > parts.maxAgeMs;
      // A failed refresh leaves the last good catalog in place: that is what it is kept for.
      if (isOld) parts.inBackground(refresh().catch(() => undefined));
      return kept.catalog;
    },
  };
}

async function firstAnswer<T>(databases: readonly Sql[], ask: (sql: Sql) => Promise<T>): Promise<T> {
  let last: unknown = new Problem('invalid-settings', 'SETWAY_CATALOG_DATABASES is empty.');
  for (const sql of databases) {
    try {
      return await ask(sql);
    } catch (error) {
      last = error;
    }
  }
  throw asProblem(last);
}

/** Says that a host lives. @returns how many live, this one included, and the tenure of its SET */
export async function beat(
  sql: Sql,
  host: {
    readonly set: string;
    readonly host: string;
    readonly broker: string;
    /** Messages a second. */
    readonly rate: number;
    readonly expiryMs: number;
  },
): Promise<Beat> {
  const [row] = await answerOf(sql`
    WITH beaten AS (
      INSERT INTO host (set_id, host, broker, rate) VALUES (${host.set}, ${host.host}, ${host.broker}, ${host.rate})
      ON CONFLICT (set_id, host) DO UPDATE SET broker = excluded.broker, rate = excluded.rate, beat_at = now()
    )
    SELECT count(*) AS others, (SELECT state FROM tenure WHERE set_id = ${host.set}) AS tenure FROM host
    WHERE set_id = ${host.set} AND host <> ${host.host} AND beat_at > now() - make_interval(secs => ${host.expiryMs / 1000})`);
  return {
    hosts: Number(row?.['others']) + 1,
    tenure: (row?.['tenure'] as TenureState | null | undefined) ?? 'serving',
  };
}

/** Messages a second that the live hosts of a SET take together; undefined when none has said. */
export async function readRate(sql: Sql, set: string, expiryMs: number): Promise<number | undefined> {
  const [row] = await answerOf(sql`
    SELECT sum(rate) AS rate FROM host
    WHERE set_id = ${set} AND beat_at > now() - make_interval(secs => ${expiryMs / 1000})`);
  return numberOrNull(row?.['rate']) ?? undefined;
}

/** Of each SET that the prober has looked at lately, as edges read them. */
export async function readRates(sql: Sql): Promise<ReadonlyMap<string, number>> {
  const rows = await answerOf(sql`
    SELECT set_id, rate FROM set_health
    WHERE rate IS NOT NULL AND checked_at > now() - make_interval(secs => ${rateExpirySeconds}) LIMIT 4096`);
  return new Map(rows.map((row) => [text(row['set_id']), Number(row['rate'])]));
}

/** A host that stops takes itself off the register. */
export async function leave(sql: Sql, host: { readonly set: string; readonly host: string }): Promise<void> {
  await answerOf(sql`DELETE FROM host WHERE set_id = ${host.set} AND host = ${host.host}`);
}

/**
 * Whether hosts of a SET have died: some have beaten, none of them within the expiry, and none has left by itself.
 * @throws Problem `database-unavailable`: then nobody knows
 */
export async function areHostsDead(sql: Sql, set: string, expiryMs: number): Promise<boolean> {
  const [row] = await answerOf(sql`
    SELECT max(beat_at) < now() - make_interval(secs => ${expiryMs / 1000}) AS dead FROM host WHERE set_id = ${set}`);
  return row?.['dead'] === true;
}

/** How many hosts of a SET beat within the expiry; hosts long gone are forgotten. */
export async function countLiveHosts(sql: Sql, set: string, expiryMs: number): Promise<number> {
  const [row] = await answerOf(sql`
    WITH gone AS (DELETE FROM host WHERE set_id = ${set} AND beat_at < now() - make_interval(secs => ${(expiryMs * 10) / 1000}))
    SELECT count(*) AS live FROM host WHERE set_id = ${set} AND beat_at > now() - make_interval(secs => ${expiryMs / 1000})`);
  return Number(row?.['live']);
}

export interface HealthReport {
  readonly set: string;
  readonly health: 'up' | 'down';
  readonly detail: string;
  /** Messages a second; absent: nobody knows. */
  readonly rate?: number | undefined;
}

export async function writeHealth(sql: Sql, reports: readonly HealthReport[]): Promise<void> {
  await answerOf(sql`
    INSERT INTO set_health (set_id, health, detail, rate)
    SELECT set, health, detail, rate
    FROM json_to_recordset(${JSON.stringify(reports)}::json) AS r(set text, health text, detail text, rate double precision)
    ON CONFLICT (set_id) DO UPDATE SET health = excluded.health, detail = excluded.detail, rate = excluded.rate, checked_at = now()`);
}

/** Subscriptions this SET has stopped by itself, with the reason. */
export async function readDisabled(sql: Sql): Promise<ReadonlyMap<string, Stop>> {
  const rows = await answerOf(sql`SELECT subscription, reason, at FROM disabled_subscription LIMIT 10000`);
  return new Map(
    rows.map((row) => [
      text(row['subscription']),
      { reason: text(row['reason']), at: new Date(row['at'] as string).toISOString() },
    ]),
  );
}

export async function disableSubscription(sql: Sql, subscription: string, reason: string): Promise<void> {
  await answerOf(sql`
    WITH forgotten AS (DELETE FROM failing_subscription WHERE subscription = ${subscription})
    INSERT INTO disabled_subscription (subscription, reason) VALUES (${subscription}, ${reason}) ON CONFLICT DO NOTHING`);
}

export async function enableSubscription(sql: Sql, subscription: string): Promise<void> {
  await answerOf(sql`DELETE FROM disabled_subscription WHERE subscription = ${subscription}`);
}
