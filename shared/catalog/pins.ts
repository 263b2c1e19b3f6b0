/**
 * Pins in the catalog: a key that always goes to one SET, in one topic or in all. Pure.
 *
 * A pin binds messages with the key; it never carries an ordered lane (shared/publish/lane-home.ts), so it may change
 * under traffic: messages without an order that edges of yesterday still send to the old SET are delivered there.
 *
 * Only active SETs get pins, and a change is written only while its SET is as it was when it was decided: a SET that
 * retires drains first, so none is retired while somebody pins a key to it.
 */
import { didYouMean } from '../nearest-name.ts';
import { Problem } from '../problem.ts';
import type { CatalogChange, CatalogEdit } from './catalog-writer.ts';
import type { CatalogDocument } from './document.ts';

export type PinEntry = CatalogDocument['pins'][number];
/** Without a topic: of all topics. */
export type PinName = Pick<PinEntry, 'topic' | 'key'>;

const maxPins = 100_000;

export function findPinEntry({ pins }: CatalogDocument, wanted: PinName): PinEntry | undefined {
  return pins.find(({ topic, key }) => topic === wanted.topic && key === wanted.key);
}

/**
 * @returns what to write, decided on this document
 * @throws Problem `not-found` for a topic or SET that is not there; `conflict` for a SET that cannot have it
 * @example await writer.write((document) => pinKey(document, { topic: 'orders', key: 'user-42', set: 'hangzhou' }))
 */
export function pinKey(document: CatalogDocument, wanted: PinEntry): CatalogChange | 'as it should be' {
  const found = findPinEntry(document, wanted);
  if (found?.set === wanted.set) return 'as it should be';
  if (!found && document.pins.length >= maxPins)
    throw new Problem('conflict', `There are ${maxPins} pins. Move buckets instead of pinning their keys.`);
  const set = heirOf(document, wanted);
  return {
    expected: [editOf(wanted, found ?? null), { list: 'sets', name: set.id, entry: set }],
    edits: [editOf(wanted, wanted)],
  };
}

/** @throws Problem `not-found` */
export function unpinKey(document: CatalogDocument, name: PinName): CatalogChange {
  const found = findPinEntry(document, name);
  if (!found) throw noPin(name);
  return { expected: [editOf(name, found)], edits: [editOf(name, null)] };
}

export function noPin({ topic, key }: PinName): Problem {
  const where = topic === undefined ? 'all topics' : `topic "${topic}"`;
  return new Problem('not-found', `The key "${key}" is not pinned in ${where}.`);
}

/** No name of a topic has a space in it. */
function editOf({ topic, key }: PinName, entry: PinEntry | null): CatalogEdit {
  return { list: 'pins', name: `${topic ?? '*'} ${key}`, entry };
}

function heirOf({ sets, topics }: CatalogDocument, { set: id, topic: name }: PinEntry) {
  const topic = topics.find((each) => each.name === name);
  if (name !== undefined && !topic) {
    const known = topics.map((each) => each.name);
    throw new Problem('not-found', `There is no topic "${name}".${didYouMean(name, known)}`);
  }
  const set = sets.find((each) => each.id === id);
  if (!set) {
    const known = sets.map((each) => each.id);
    throw new Problem('not-found', `There is no SET "${id}".${didYouMean(id, known)}`);
  }
  if (set.status !== 'active')
    throw new Problem('conflict', `SET "${id}" is ${set.status} and takes nothing new.`);
  if (topic?.scope === 'center' && set.kind !== 'center')
    throw new Problem(
      'conflict',
      `Topic "${topic.name}" never leaves the center, and SET "${id}" is a unit.`,
    );
  return set;
}
