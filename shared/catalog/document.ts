/** The catalog as it is kept: a seed whose secrets are sealed; and the way back to what edges and hosts use. */
import type { Sealer } from '../sealed.ts';
import { loadOf } from '../sets/load.ts';
import type { BucketMove } from '../sets/ownership.ts';
import { compileRouteTable } from '../sets/route-table.ts';
import type { SetDefinition, SetHealth } from '../sets/set.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import type { Catalog, SetAccess, SetFate } from './catalog.ts';
import type { Seed } from './seed.ts';

/** What the HTTP API keeps beside an entry. */
interface Kept {
  /** Unix milliseconds: since when the subscription hears what it hears. */
  readonly since?: number;
  /** Digest of the Idempotency-Key and the request that made it. */
  readonly madeBy?: string;
  /** Until when the secrets after the first sign, in Unix milliseconds. */
  readonly retiring?: readonly number[];
}

export type SetEntry = Seed['sets'][number];
export type KeyEntry = Seed['keys'][number];
export type TopicEntry = Seed['topics'][number] & Kept;
export type SubscriptionEntry = Seed['subscriptions'][number] & Kept;

/** The same shape as a seed; `brokerUrls`, `managementUrl`, `databaseUrl(s)`, `secrets` and the values of `headers` hold sealed texts. Older ones have no outboxes. */
export type CatalogDocument = Omit<Seed, 'outboxes' | 'topics' | 'subscriptions'> &
  Partial<Pick<Seed, 'outboxes'>> & {
    readonly sealed: true;
    readonly topics: readonly TopicEntry[];
    readonly subscriptions: readonly SubscriptionEntry[];
    /** Removed subscriptions whose queues go with all they hold. */
    readonly discarded?: readonly { readonly name: string }[];
    /** Buckets on their way from one SET to another. */
    readonly moves?: readonly BucketMove[] | undefined;
    /** Numbers that were given to SETs, with the SET, for ever: ids of messages carry them. */
    readonly setNumbers?: readonly SetNumber[];
  };

/** The number as text, as an entry's name is. */
export interface SetNumber {
  readonly name: string;
  readonly set: string;
}

export function sealSeed(seed: Seed, sealer: Sealer): CatalogDocument {
  return allThrough((plain) => sealer.seal(plain), { ...seed, sealed: true });
}

/**
 * The same under the newest key, after which the older ones open nothing that is needed.
 * @throws Problem `invalid-settings` when no key opens a secret
 */
export function resealDocument(document: CatalogDocument, sealer: Sealer): CatalogDocument {
  return allThrough((sealed) => sealer.seal(sealer.open(sealed)), document);
}

/** Everything in a document that is kept sealed. */
function allThrough(change: (text: string) => string, document: CatalogDocument): CatalogDocument {
  return {
    ...document,
    sets: document.sets.map((set) => urlsThrough(change, set)),
    topics: document.topics.map(({ secrets, ...topic }) => ({
      ...topic,
      ...(secrets === undefined ? {} : { secrets: secrets.map(change) }),
    })),
    subscriptions: document.subscriptions.map((entry) => secretsThrough(change, entry)),
    ...(document.outboxes === undefined
      ? {}
      : {
          outboxes: document.outboxes.map((entry) => ({ ...entry, databaseUrl: change(entry.databaseUrl) })),
        }),
  };
}

function urlsThrough(change: (url: string) => string, { managementUrl, ...set }: SetEntry): SetEntry {
  return {
    ...set,
    brokerUrls: set.brokerUrls.map(change),
    databaseUrls: set.databaseUrls.map(change),
    ...(managementUrl === undefined ? {} : { managementUrl: change(managementUrl) }),
  };
}

/** A SET as it is kept. */
export function sealSet(entry: SetEntry, sealer: Sealer): SetEntry {
  return urlsThrough((plain) => sealer.seal(plain), entry);
}

/** A SET with the URLs to reach its parts by. */
export function openSet(entry: SetEntry, sealer: Sealer): SetEntry {
  return urlsThrough((sealed) => sealer.open(sealed), entry);
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

/** A topic as the catalog hands it out. */
export function openTopic(entry: TopicEntry, sealer: Sealer): TopicEntry & Topic {
  return { ...entry, secrets: (entry.secrets ?? []).map((sealed) => sealer.open(sealed)) };
}

/** A subscription as the catalog hands it out. */
export function openSubscription(entry: SubscriptionEntry, sealer: Sealer): SubscriptionEntry {
  return secretsThrough((sealed) => sealer.open(sealed), entry);
}

/** A subscription as it is kept. */
export function sealSubscription(entry: SubscriptionEntry, sealer: Sealer): SubscriptionEntry {
  return secretsThrough((plain) => sealer.seal(plain), entry);
}

function secretsThrough(change: (text: string) => string, entry: SubscriptionEntry): SubscriptionEntry {
  return { ...entry, ...headersThrough(change, entry), secrets: entry.secrets.map(change) };
}

/** What was seen of the SETs, by id. There may be some of SETs that are gone since. */
export interface SetsSeen {
  readonly health?: Readonly<Record<string, SetHealth>>;
  /** Messages a second. */
  readonly rates?: Readonly<Record<string, number>>;
}

/**
 * Compiles a document once per version and health report.
 * @throws Problem `invalid-settings` when no encryption key opens its secrets
 */
export function compileCatalog(
  version: number,
  document: CatalogDocument,
  seen: SetsSeen,
  sealer: Sealer,
): Catalog {
  const open = (sealed: string): string => sealer.open(sealed);
  const sets = document.sets.map(definitionOf);
  return {
    version,
    topics: new Map(document.topics.map((topic) => [topic.name, openTopic(topic, sealer)])),
    subscriptions: new Map(
      document.subscriptions.map((entry) => [entry.name, openSubscription(entry, sealer)]),
    ),
    discarded: new Set(document.discarded?.map(({ name }) => name)),
    sets: new Map(sets.map((set) => [set.id, set])),
    access: new Map(document.sets.map((set) => [set.id, accessOf(openSet(set, sealer))])),
    fates: new Map(document.sets.map((set) => [set.id, fateOf(set)])),
    outboxes: (document.outboxes ?? []).map((entry) => ({ ...entry, databaseUrl: open(entry.databaseUrl) })),
    keys: new Map(document.keys.map((key) => [key.id, key])),
    moves: document.moves ?? [],
    table: compileRouteTable({
      version,
      sets,
      buckets: document.buckets,
      pins: document.pins,
      ...momentOf(document.sets, seen),
    }),
  };
}

/** What routing knows of a SET. */
function definitionOf(entry: SetEntry): SetDefinition {
  const { id, number, kind, place, weight, status, share, databaseUrls } = entry;
  const slowly = share === undefined ? {} : { share };
  return { id, number, kind, place, weight, status, shards: databaseUrls.length, ...slowly };
}

/** How the SETs of the document are. */
function momentOf(sets: readonly SetEntry[], { health = {}, rates = {} }: SetsSeen) {
  const known = sets.flatMap(({ id, capacity }) => {
    const load = loadOf(rates[id], capacity);
    return load === undefined ? [] : [[id, load] as const];
  });
  return {
    health: Object.fromEntries(sets.map(({ id }) => [id, health[id] ?? 'unknown'])),
    loads: Object.fromEntries(known),
  };
}

function fateOf({ takeOver = 'manual', database = 'there' }: SetEntry): SetFate {
  return { takeOver, database };
}

function accessOf({ brokerUrls, databaseUrls, managementUrl }: SetEntry): SetAccess {
  return { brokerUrls, databaseUrls, ...(managementUrl === undefined ? {} : { managementUrl }) };
}
