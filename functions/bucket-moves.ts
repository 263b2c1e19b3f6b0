/** Moves of buckets over the databases of a deployment: for the door, the command line and the cron. */
import type { CatalogDocument } from '../shared/catalog/document.ts';
import { listeningSince } from '../shared/catalog/listening.ts';
import { systemClock } from '../shared/clock.ts';
import type { BucketBook, MoveParts } from '../shared/fleet/move-buckets.ts';
import { Problem } from '../shared/problem.ts';
import type { Sealer } from '../shared/sealed.ts';
import { closeAllBut, closeBuckets, openBuckets } from '../shared/store/bucket-admission.ts';
import { readDocument, readKeptVersions } from '../shared/store/catalog.ts';
import { changeDocument } from '../shared/store/change-document.ts';
import { openDatabase, type Sql } from '../shared/store/database.ts';
import { findLanesLeft, type LaneListener } from '../shared/store/lanes-left.ts';
import { tagPattern } from '../shared/subscriptions/tag-pattern.ts';

export interface BucketMoveParts {
  readonly center: Sql;
  readonly sealer: Sealer;
  /** After each change of the catalog: tells those who read. Never rejects. */
  readonly onWritten: () => Promise<void>;
}

export function createMoveParts({ center, sealer, onWritten }: BucketMoveParts): MoveParts {
  const newest = async (): Promise<CatalogDocument> => {
    const found = await readDocument(center);
    if (!found) throw new Problem('set-unavailable', 'There is no catalog yet.');
    return found.document;
  };
  return {
    clock: systemClock,
    read: newest,
    async write(decide) {
      const { document, state } = await changeDocument(center, (before) => {
        const wanted = decide(before);
        if (!wanted || wanted === before) return undefined;
        return { ...before, buckets: [...wanted.buckets], moves: wanted.moves ?? [] };
      });
      if (state === 'changed') await onWritten();
      return document;
    },
    async books(set) {
      const document = await newest();
      const entry = document.sets.find(({ id }) => id === set);
      if (!entry) throw new Problem('not-found', `There is no SET "${set}".`);
      const databases = entry.databaseUrls.map((url) => openDatabase(sealer.open(url)));
      const [first] = databases;
      // What only opens buckets need not know who listens.
      let known: Promise<readonly LaneListener[]> | undefined;
      const listeners = (): Promise<readonly LaneListener[]> =>
        (known ??= first ? listenersOf(document, first) : Promise.resolve([]));
      return databases.map((sql) => bookOf(sql, set, listeners));
    },
  };
}

function bookOf(sql: Sql, set: string, listeners: () => Promise<readonly LaneListener[]>): BucketBook {
  return {
    open: (holdings) => openBuckets(sql, set, holdings),
    close: (span) => closeBuckets(sql, set, span),
    closeAllBut: (holdings) => closeAllBut(sql, set, holdings),
    left: async (among) => findLanesLeft(sql, { set, listeners: await listeners(), among }),
  };
}

/** Native consumers take their lanes from the queue by themselves: nobody knows how far they are. */
async function listenersOf(document: CatalogDocument, first: Sql): Promise<readonly LaneListener[]> {
  const since = listeningSince(await readKeptVersions(first));
  const topics = new Map(document.topics.map((topic) => [topic.name, topic]));
  return document.subscriptions.flatMap(({ name, owner, topic: topicName, bindings, kind }) => {
    const topic = topics.get(topicName);
    const sinceMs = since.get(name);
    if (!topic || sinceMs === undefined || kind === 'amqp') return [];
    return [
      { subscription: name, owner, topic: topicName, pattern: tagPattern(topic.type, bindings), sinceMs },
    ];
  });
}
