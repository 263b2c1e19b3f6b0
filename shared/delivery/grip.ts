/**
 * Whether a host may still call for what it has in hand. Between the moment when a message was handed out and the one when
 * a slot is free for it, its SET may have been taken over, and may even be back: then somebody else delivers it.
 *
 *   handed out, or claimed ─▶ grip: the tenure's epoch as known, not departed ─▶ waits for a slot ─▶ holds? ─▶ call
 *        ▲                                                                                            │ no
 *        └──────────────────────────── asks the database again ◀─────────────────────────────────────┘
 *
 * What is known is one small read of each database, shared by all messages, and good for as long as nobody can have given
 * this host up meanwhile. A host that slept finds it too old and asks before it calls anybody: fenced, it calls no more;
 * serving at another epoch, copies of what has left are acked and not called. Nothing is asked per message, but for those
 * of before the end of the day of the last departure, many at a time.
 *
 * What this cannot see is a fence of a moment ago, by an operator who takes over while the host lives: a call that
 * begins within `knownForMs` of it, or was on the wire, happens beside the sibling's. The webhook's guard recognises it.
 */
import { createBatcher } from '../batcher.ts';
import type { SteadyClock } from '../clock.ts';
import { mintedAtMs, type MessageId } from '../identifier.ts';
import { shardOf } from '../message/shard.ts';
import { Problem } from '../problem.ts';
import type { Footing, Handover } from '../store/handover.ts';

export type DepartureBook = Pick<Handover, 'footing' | 'departed'>;

/** Asked when a slot is free: false when it has to be asked for again. */
export type Grip = () => boolean;

export interface Grips {
  /**
   * `gone`: it is with another SET now. At once when everything is known.
   * @throws Problem `set-fenced`, `database-unavailable`
   */
  readonly take: (id: MessageId) => Grip | Promise<Grip | 'gone'>;
  /** The tenure has changed: what is known is looked up again. */
  renew(): void;
}

export interface GripParts {
  readonly set: string;
  /** One per shard, in shard order. */
  readonly books: readonly DepartureBook[];
  readonly clock: SteadyClock;
  /** How long what was asked is good: less than a host that does not beat is given up after, by more than a heartbeat. */
  readonly knownForMs: number;
}

/** Clocks of edges may be ahead of the database's by so much. */
const clockSkewMs = 60_000;

interface Known {
  readonly askedAtMs: number;
  readonly footing: Footing;
}

export function createGrips({ set, books, clock, knownForMs }: GripParts): Grips {
  let known: (Known | undefined)[] = [];
  let asked: (Promise<Known> | undefined)[] = [];
  const asking = books.map((book) =>
    createBatcher({
      async run(ids: readonly MessageId[]) {
        const departed = await book.departed(ids);
        return ids.map((id) => departed.has(id));
      },
      maxItems: 500,
      lingerMs: 1,
      maxUnderWay: 2,
      clock,
    }),
  );

  /** One for all who ask meanwhile. */
  const look = (shard: number): Promise<Known> => {
    const under = asked[shard];
    if (under) return under;
    const book = books[shard];
    const askedAtMs = clock.steadyMs();
    const looking = Promise.resolve(book?.footing(set)).then((footing) => {
      if (!footing) throw new RangeError(`There is no shard ${shard}.`);
      const now = { askedAtMs, footing };
      // What was asked before a change was told is not what is known after it.
      if (asked[shard] === looking) known[shard] = now;
      return now;
    });
    const forget = (): void => {
      if (asked[shard] === looking) asked[shard] = undefined;
    };
    looking.then(forget, forget);
    asked[shard] = looking;
    return looking;
  };
  /** Asked again before it is too old, so that a host at work does not wait. */
  const lately = (shard: number): Footing | undefined => {
    const last = known[shard];
    if (!last) return undefined;
    const ageMs = clock.steadyMs() - last.askedAtMs;
    if (ageMs > knownForMs) return undefined;
    // What fails is asked again by whoever finds it too old.
    if (ageMs > knownForMs / 2) look(shard).catch(() => undefined);
    return last.footing;
  };
  const gripAt = (shard: number, { tenure }: Footing): Grip => {
    if (tenure.state === 'fenced') throw new Problem('set-fenced', `SET "${set}" is fenced.`);
    return () => lately(shard)?.tenure.epoch === tenure.epoch;
  };
  const takeOld = async (id: MessageId, shard: number, footing: Footing): Promise<Grip | 'gone'> => {
    const grip = gripAt(shard, footing);
    const isGone = (await asking[shard]?.add([id]))?.[0] ?? false;
    return isGone ? 'gone' : grip;
  };
  const takeAt = (id: MessageId, shard: number, footing: Footing): Grip | Promise<Grip | 'gone'> =>
    isOld(id, footing) ? takeOld(id, shard, footing) : gripAt(shard, footing);

  return {
    take(id) {
      if (books.length === 0) return () => true;
      const shard = shardOf(id, books.length);
      const footing = lately(shard);
      return footing ? takeAt(id, shard, footing) : look(shard).then((now) => takeAt(id, shard, now.footing));
    },
    renew() {
      known = [];
      asked = [];
    },
  };
}

/** From before the last departure, or of its day: the id of a keyed publish tells no more than the UTC day. */
function isOld(id: MessageId, { lastLeftAtMs }: Footing): boolean {
  return lastLeftAtMs !== undefined && dayOf(mintedAtMs(id)) <= dayOf(lastLeftAtMs + clockSkewMs);
}

function dayOf(unixMs: number): number {
  return Math.floor(unixMs / 86_400_000);
}
