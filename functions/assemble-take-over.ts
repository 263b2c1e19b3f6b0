/** Marries take-overs to their machines. */
import { listeningSince } from '../shared/catalog/listening.ts';
import type { TakeOverParts } from '../shared/fleet/take-over.ts';
import type { Sealer } from '../shared/sealed.ts';
import type { Settings } from '../shared/settings.ts';
import { copyCatalog, readKeptVersions, type RenewableCatalog } from '../shared/store/catalog.ts';
import { openDatabase } from '../shared/store/database.ts';
import { createFleetWrites } from '../shared/store/fleet-writes.ts';
import type { Hearer } from '../shared/store/handover.ts';
import { openShelf } from '../shared/store/mirror.ts';
import { openHandover } from '../shared/store/postgres-handover.ts';
import { openStore } from '../shared/store/postgres-store.ts';
import { createMoveParts } from './bucket-moves.ts';
import { tagPattern } from '../shared/subscriptions/tag-pattern.ts';
import type { SetAccess } from '../shared/catalog/catalog.ts';

export interface TakeOverWorld {
  readonly settings: Pick<Settings, 'SETWAY_CATALOG_DATABASES'>;
  readonly catalog: RenewableCatalog;
  readonly sealer: Sealer;
  readonly access: (set: string) => Promise<SetAccess>;
}

/** @example await takeOver(createTakeOverParts(world, print), { set: 'hangzhou' }) */
export function createTakeOverParts(
  { settings, catalog, access, sealer }: TakeOverWorld,
  report: (line: string) => void,
): TakeOverParts {
  const [center = '', ...others] = settings.SETWAY_CATALOG_DATABASES;
  const urlsOf = async (set: string): Promise<readonly string[]> => (await access(set)).databaseUrls;
  const spread = async (): Promise<void> => {
    const current = await catalog.renew();
    const firsts = [...current.access.values()].map(({ databaseUrls }) => databaseUrls[0] ?? '');
    await copyCatalog([openDatabase(center)], [...new Set([...others, ...firsts])].map(openDatabase));
  };
  return {
    catalog: () => catalog.renew(),
    writes: createFleetWrites({
      center: openDatabase(center),
      onWritten: spread,
      databases: async (set) => (await urlsOf(set)).map((url) => openDatabase(url)),
    }),
    handovers: async (set) => (await urlsOf(set)).map((url) => openHandover(openDatabase(url))),
    shelves: async (set) => (await urlsOf(set)).map((url) => openShelf(openDatabase(url))),
    // With its tenure: a SET that is fenced takes nothing over.
    stores: async (set) => (await urlsOf(set)).map((url) => openStore(openDatabase(url), set)),
    async hearers(set) {
      const kept = await readKeptVersions(openDatabase((await urlsOf(set))[0] ?? ''));
      const since = listeningSince(kept);
      const { subscriptions, topics } = await catalog.current();
      return [...subscriptions.values()].flatMap((subscription): readonly Hearer[] => {
        const { name, owner, bindings, filter, kind } = subscription;
        const topic = topics.get(subscription.topic);
        // What a native consumer takes leaves no record.
        if (kind === 'amqp' || !topic) return [];
        const pattern = tagPattern(topic.type, bindings);
        return [
          { subscription: name, owner, topic: topic.name, pattern, sinceMs: since.get(name) ?? 0, filter },
        ];
      });
    },
    moves: createMoveParts({ center: openDatabase(center), sealer, onWritten: spread }),
    report,
  };
}
