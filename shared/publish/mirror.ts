/**
 * Messages of `mirrored` topics: committed in two SETs' databases before the 202, so that the loss of one database,
 * and of its whole region, loses none of them.
 *
 *   offers ─▶ sibling's database: passive copies ─▶ own database: message, named with its sibling ─▶ 202
 *                     └─ fails: the next sibling ─ fails: refused, nothing stored here, the edge asks the next SET
 *
 * The copy comes first. It costs one round trip to the sibling, beside which the commit at home is nothing; and the row
 * at home can say who has the copy, and no message is ever here alone. A sibling is the nearest of the SETs that take new
 * traffic; one that does not answer is passed over, for a while, like any SET that an edge finds away.
 *
 * A copy is an offer as it was made, under the same id. Nobody sends it and no agenda knows it. It ends when the original
 * has been delivered (`findEndedCopies`), at the latest with the retention. When the home's database is lost, a take-over
 * promotes the copies: each is committed again, under the same id, in the order in which they came.
 *
 * What if only one of the two has it:
 * - The copy is there and the commit at home failed. The publisher has no 202; its edge offers the same id to the next SET.
 *   The copy is an orphan, kept under the name of the home that has not got it: were that home lost, its message would be
 *   sent once more, under the same id, which the guard recognises.
 * - The commit at home is there and its answer was lost. The same: the next SET takes the same id, with a copy of its own.
 * - A retry of the same id finds both rows there and changes neither.
 *
 * `fast` messages are stored nowhere and so not copied. A replay or a redrive makes new work from what is stored: it is
 * `stored` itself.
 */
import { createBatcher, type Batcher } from '../batcher.ts';
import type { CatalogSource } from '../catalog/catalog.ts';
import type { Clock } from '../clock.ts';
import { withinMs } from '../deadline.ts';
import { asProblem, Problem } from '../problem.ts';
import { createBreaker } from '../sets/breaker.ts';
import type { Offer } from '../sets/set-link.ts';
import { siblingsOf } from '../sets/sibling.ts';
import { shardOf } from '../message/shard.ts';
import type { Shelf } from '../store/shelf.ts';

export interface MirrorParts {
  /** The home. */
  readonly set: string;
  readonly catalog: CatalogSource;
  readonly clock: Clock;
  /** Where a SET keeps copies, one per shard. @throws Problem `not-found` */
  readonly shelves: (set: string) => Promise<readonly Shelf[]>;
}

export interface Mirror {
  /**
   * Has copies kept of what is mirrored.
   * @returns the offers in order, each with who keeps its copy, or with a Problem `copy-unavailable`
   */
  keep(offers: readonly Offer[]): Promise<readonly (Offer | Problem)[]>;
}

/** Two siblings are asked within the time an edge has for one SET. A round trip around the world takes 300 ms. */
const maxSiblings = 2;
const tryMs = 450;
const maxCopies = 500;

type Copies = Batcher<Offer, undefined>;

export function isMirrored({ durability, message }: Offer): boolean {
  return durability === 'mirrored' && message.mode !== 'fast';
}

export function createMirror(parts: MirrorParts): Mirror {
  const { clock } = parts;
  const breaker = createBreaker({ clock, random: Math.random });
  const opened = new Map<string, Promise<readonly Copies[]>>();

  const open = async (sibling: string): Promise<readonly Copies[]> =>
    (await parts.shelves(sibling)).map((shelf) =>
      createBatcher({
        async run(offers: readonly Offer[]) {
          await shelf.keep(parts.set, offers);
          return offers.map(() => undefined);
        },
        maxItems: maxCopies,
        lingerMs: 1,
        maxUnderWay: 4,
        clock,
      }),
    );

  const shelvesOf = (sibling: string): Promise<readonly Copies[]> => {
    const known = opened.get(sibling) ?? open(sibling);
    opened.set(sibling, known);
    known.catch(() => opened.delete(sibling));
    return known;
  };

  const keepAt = async (sibling: string, offers: readonly Offer[]): Promise<void> => {
    const copies = await shelvesOf(sibling);
    const byShard = Map.groupBy(offers, ({ message }) => shardOf(message.id, copies.length));
    await Promise.all([...byShard].map(async ([shard, some]) => copies[shard]?.add(some)));
  };

  /** @returns who keeps them */
  const keepSomewhere = async (offers: readonly Offer[]): Promise<string> => {
    const { table, topics } = await parts.catalog.current();
    const isCentral = offers.some(({ message }) => topics.get(message.topic)?.scope === 'center');
    const siblings = siblingsOf(table, parts.set, isCentral ? 'center' : 'anywhere');
    const usable = siblings.filter(({ id }) => breaker.usable(id));
    let last: unknown;
    for (const { id } of (usable.length > 0 ? usable : siblings).slice(0, maxSiblings)) {
      try {
        breaker.began(id);
        await withinMs(clock, tryMs, keepAt(id, offers));
        breaker.succeeded(id);
        return id;
      } catch (error) {
        breaker.failed(id);
        opened.delete(id);
        last = error;
      }
    }
    throw new Problem('copy-unavailable', 'No other SET could keep a copy, which this topic asks for.', {
      retryAfterSeconds: 2,
      ...(last === undefined ? {} : { cause: last }),
    });
  };

  return {
    async keep(offers) {
      const units = new Set(offers.filter(isMirrored).flatMap(({ unit }) => unit ?? []));
      // A unit is promoted whole.
      const wanted = offers.filter(
        (each) => isMirrored(each) || (each.unit !== undefined && units.has(each.unit)),
      );
      const mirror = await keepSomewhere(wanted).catch(asProblem);
      const copied = new Set(wanted);
      return offers.map((offer) => {
        if (!copied.has(offer)) return offer;
        return mirror instanceof Problem ? mirror : { ...offer, mirror };
      });
    },
  };
}
