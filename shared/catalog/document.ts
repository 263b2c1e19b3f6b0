/** The catalog as it is kept: a seed whose secrets are sealed; and the way back to what edges and hosts use. */
import type { Sealer } from '../sealed.ts';
import { compileRouteTable } from '../sets/route-table.ts';
import type { SetHealth } from '../sets/set.ts';
import type { Catalog } from './catalog.ts';
import type { Seed } from './seed.ts';

/** The same shape as a seed; `brokerUrls`, `databaseUrl(s)`, `secrets` and the values of `headers` hold sealed texts. Older ones have no outboxes. */
export type CatalogDocument = Omit<Seed, 'outboxes'> &
  Partial<Pick<Seed, 'outboxes'>> & { readonly sealed: true };

export function sealSeed(seed: Seed, sealer: Sealer): CatalogDocument {
  const seal = (plain: string): string => sealer.seal(plain);
  return {
    ...seed,
    sealed: true,
    sets: seed.sets.map((set) => ({
      ...set,
      brokerUrls: set.brokerUrls.map(seal),
      databaseUrls: set.databaseUrls.map(seal),
    })),
    topics: seed.topics.map(({ secrets, ...topic }) => ({
      ...topic,
      ...(secrets === undefined ? {} : { secrets: secrets.map(seal) }),
    })),
    subscriptions: seed.subscriptions.map((entry) => ({
      ...entry,
      ...headersThrough(seal, entry),
      secrets: entry.secrets.map(seal),
    })),
    outboxes: seed.outboxes.map((entry) => ({ ...entry, databaseUrl: seal(entry.databaseUrl) })),
  };
}

/** Headers of calls may hold credentials. */
function headersThrough(
  change: (value: string) => string,
  { headers }: { readonly headers?: Readonly<Record<string, string>> | undefined },
): { readonly headers?: Readonly<Record<string, string>> } {
  if (headers === undefined) return {};
  return {
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, change(value)])),
  };
}

/**
 * Compiles a document once per version and health report.
 * @throws Problem `invalid-settings` when no encryption key opens its secrets
 */
export function compileCatalog(
  version: number,
  document: CatalogDocument,
  health: Readonly<Record<string, SetHealth>>,
  sealer: Sealer,
): Catalog {
  const open = (sealed: string): string => sealer.open(sealed);
  const sets = document.sets.map(({ brokerUrls: _brokerUrls, databaseUrls, ...set }) => ({
    ...set,
    shards: databaseUrls.length,
  }));
  return {
    version,
    topics: new Map(
      document.topics.map((topic) => [topic.name, { ...topic, secrets: (topic.secrets ?? []).map(open) }]),
    ),
    subscriptions: new Map(
      document.subscriptions.map((entry) => [
        entry.name,
        { ...entry, ...headersThrough(open, entry), secrets: entry.secrets.map(open) },
      ]),
    ),
    sets: new Map(sets.map((set) => [set.id, set])),
    access: new Map(
      document.sets.map((set) => [
        set.id,
        { brokerUrls: set.brokerUrls.map(open), databaseUrls: set.databaseUrls.map(open) },
      ]),
    ),
    outboxes: (document.outboxes ?? []).map((entry) => ({ ...entry, databaseUrl: open(entry.databaseUrl) })),
    keys: new Map(document.keys.map((key) => [key.id, key])),
    table: compileRouteTable({ version, sets, buckets: document.buckets, pins: document.pins, health }),
  };
}
