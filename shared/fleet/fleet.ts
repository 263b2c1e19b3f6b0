/** What the stories of many SETs need; a shell marries it. */
import type { Broker } from '../broker/broker.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { CatalogWriter } from '../catalog/catalog-writer.ts';
import { compileCatalog, openSet, type CatalogDocument, type SetEntry } from '../catalog/document.ts';
import type { Clock } from '../clock.ts';
import { didYouMean } from '../nearest-name.ts';
import { Problem } from '../problem.ts';
import type { Sealer } from '../sealed.ts';
import type { Management } from '../topology/management.ts';
import type { DatabaseLeft } from '../sets/left.ts';
import type { TenureState } from '../sets/tenure.ts';
import type { CopiedMessage, Undelivered, UndeliveredPage } from '../sets/undelivered.ts';

/** One database of a SET. Problems name the database, never its password. */
export interface SetDatabase {
  /** For people: host, port and name. */
  readonly at: string;
  /** Migrations it lacks. */
  missing(): Promise<readonly string[]>;
  migrate(): Promise<readonly string[]>;
  /** Of the catalog's copy; 0 without one. */
  snapshotVersion(): Promise<number>;
  /** Who works with it: SETs whose messages or hosts it knows. */
  tenants(): Promise<readonly string[]>;
  left(set: string): Promise<DatabaseLeft>;
  /** What its commits are allowed from now on; waits for those in flight. */
  setTenure(set: string, state: TenureState): Promise<void>;
  /** Undelivered messages of these subscriptions, a page of them, in the order of their ids. */
  undelivered(page: UndeliveredPage): Promise<Undelivered>;
  /** Keeps messages of another SET under their ids; those that are there stay as they are. */
  keep(rows: readonly CopiedMessage[]): Promise<void>;
}

export interface VersionedCatalog {
  readonly version: number;
  readonly document: CatalogDocument;
}

export interface FleetParts {
  readonly clock: Clock;
  readonly sealer: Sealer;
  /** The newest document, from the center. @throws Problem `set-unavailable` without one, `database-unavailable` */
  readonly center: () => Promise<VersionedCatalog>;
  readonly writer: CatalogWriter;
  /** Messages a second that SETs take, as edges know it; of the others nobody knows. */
  readonly rates: () => Promise<ReadonlyMap<string, number>>;
  /** Copies the catalog to every SET now. */
  readonly spread: () => Promise<void>;
  readonly management: (url: string) => Management;
  /** Connects for as long as `work` lasts. @throws Problem `broker-unavailable` */
  readonly withBroker: <T>(urls: readonly string[], work: (broker: Broker) => Promise<T>) => Promise<T>;
  readonly database: (url: string) => SetDatabase;
  readonly newPassword: () => string;
  /** One line for whoever watches. */
  readonly report: (line: string) => void;
}

/** One SET with the catalog it belongs to. */
export interface FoundSet {
  /** As it is kept. */
  readonly kept: SetEntry;
  /** With its URLs in clear. */
  readonly entry: SetEntry;
  readonly catalog: Catalog;
  readonly document: CatalogDocument;
}

/** @throws Problem `not-found` with the nearest id */
export async function findSet({ center, sealer }: FleetParts, id: string): Promise<FoundSet> {
  const { version, document } = await center();
  const kept = document.sets.find((each) => each.id === id);
  if (!kept)
    throw new Problem(
      'not-found',
      `There is no SET "${id}".${didYouMean(
        id,
        document.sets.map((each) => each.id),
      )}`,
    );
  const catalog = compileCatalog(version, document, {}, sealer);
  return { kept, document, catalog, entry: openSet(kept, sealer) };
}

/** @throws Problem `conflict` when the SET has no management URL */
export function managementOf({ management }: FleetParts, { id, managementUrl }: SetEntry): Management {
  if (managementUrl !== undefined) return management(managementUrl);
  throw new Problem(
    'conflict',
    `SET "${id}" has no management URL, so its RabbitMQ is looked after by hand. Give it one: "managementUrl" in the seed.`,
  );
}
