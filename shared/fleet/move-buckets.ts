/**
 * Moves buckets from one SET to another, with every ordered lane in them.
 *
 *   catalog: move `draining` ─▶ source closes ─▶ source delivers what it has ─▶ catalog: `opening`
 *     ─▶ target opens at epoch + 1 ─▶ catalog: the target has the buckets, the move is over
 *   given up while draining: catalog: `aborting` ─▶ source opens at epoch + 1 ─▶ catalog: the source has them, over
 *
 * Each step can be repeated, and the catalog says which one comes next: whoever dies leaves the move to the next command
 * or to the cron. Two at once do each step twice; what has to be decided, opening or aborting, is decided by one change
 * of the catalog that one of them makes. Epochs decide who is late: a closing, an opening, an edge or a host that knows an
 * older epoch changes nothing. Clocks decide only when to give up.
 *
 * From the closing until the opening nobody admits the lanes that move: their publishers get 503 and try again. All else
 * goes on.
 */
import type { Clock } from '../clock.ts';
import { Problem } from '../problem.ts';
import { bucketOf } from '../sets/bucket.ts';
import {
  beginMove,
  decideMove,
  endMove,
  heirOf,
  heldBy,
  isSameMove,
  type BucketMove,
  type BucketSpan,
  type Heir,
  type Holding,
  type MoveWish,
  type Ownership,
} from '../sets/ownership.ts';

/** Lanes that something is still to be delivered of. */
export interface LeftOver {
  readonly topic: string;
  readonly lane: string;
  readonly waitsFor: string;
}

/** The buckets of a SET, in one of its databases. */
export interface BucketBook {
  /** Opens buckets at the epochs given, where they stand at a lower one. */
  open(holdings: readonly Omit<Holding, 'set'>[]): Promise<void>;
  /** Closes buckets that stand below an epoch, after all commits in flight. */
  close(span: BucketSpan & { readonly epoch: number }): Promise<void>;
  /** Closes everything but what is held. */
  closeAllBut(holdings: readonly Omit<Holding, 'set'>[]): Promise<void>;
  /** What of these lanes, or of all, is not delivered yet. */
  left(among?: readonly LeftOver[]): Promise<readonly LeftOver[]>;
}

export interface MoveParts {
  readonly clock: Clock;
  readonly read: () => Promise<Owned>;
  /**
   * Changes the catalog by compare-and-set, deciding anew when others changed it. @returns it as it is then
   * @throws what `decide` throws
   */
  readonly write: (decide: (owned: Owned) => Ownership | undefined) => Promise<Owned>;
  /** One per database. @throws Problem `not-found` */
  readonly books: (set: string) => Promise<readonly BucketBook[]>;
}

export interface Owned extends Ownership {
  readonly sets: readonly Heir[];
}

export interface MoveReport {
  readonly move: BucketMove;
  /** `moved` and `aborted`: it is over. */
  readonly outcome: 'moved' | 'aborted' | 'draining';
  /** Lanes it waits for. */
  readonly lanesLeft: number;
  /** What they wait for. */
  readonly waitsFor: readonly string[];
}

/** How often what is left is looked at. */
const lookMs = 200;

/**
 * Writes a move, once, before anything is done.
 * @returns it as it is written; one that is over when the target has the buckets already
 * @throws Problem `conflict`, `not-found`
 */
export async function planMove(parts: MoveParts, wish: MoveWish): Promise<BucketMove> {
  await parts.books(wish.target);
  const isWish = ({ from, to, target }: BucketMove): boolean =>
    from === wish.from && to === wish.to && target === wish.target;
  const { buckets, moves = [] } = await parts.write((owned) => {
    const statusOf = (set: string): string => owned.sets.find(({ id }) => id === set)?.status ?? 'gone';
    if (statusOf(wish.target) !== 'active')
      throw new Problem(
        'conflict',
        `SET "${wish.target}" is ${statusOf(wish.target)} and takes nothing new.`,
      );
    const begun = beginMove(owned, wish);
    const source = begun.moves?.find(isWish)?.source;
    // Nothing is delivered there: whoever takes it over takes its buckets.
    if (begun !== owned && source !== undefined && statusOf(source) === 'fenced')
      throw new Problem('conflict', `SET "${source}" is fenced. First: setway sets take-over ${source}.`);
    return begun;
  });
  const move = moves.find(isWish);
  if (move) return move;
  const epoch = buckets.find(({ from, to }) => from <= wish.from && wish.from <= to)?.epoch ?? 0;
  return { ...wish, source: wish.target, epoch, state: 'opening' };
}

export interface DriveOptions {
  /** For how long to work on it. */
  readonly maxMs: number;
  readonly onProgress?: (report: MoveReport) => void;
}

/**
 * Takes a move as far as it goes in that time.
 * @throws Problem when a database does not answer: repeat it
 */
export async function driveMove(
  parts: MoveParts,
  move: BucketMove,
  { maxMs, onProgress }: DriveOptions,
): Promise<MoveReport> {
  const endMs = parts.clock.nowMs() + maxMs;
  let draining: Draining | undefined;
  for (;;) {
    const owned = await parts.read();
    const now = owned.moves?.find((each) => isSameMove(each, move));
    if (!now) return ended(owned, move);
    if (now.state === 'draining') {
      draining = draining ? await lookAgain(draining, now) : await close(parts, owned, now);
      const report = reportOf(now, draining.left);
      const isDry = draining.left.length === 0;
      if (!isDry) onProgress?.(report);
      if (isDry || parts.clock.nowMs() >= now.untilMs)
        await parts.write((newest) => decideMove(newest, now, isDry ? 'opening' : 'aborting'));
      else if (parts.clock.nowMs() + lookMs >= endMs) return report;
      else await new Promise<void>((resolve) => parts.clock.after(lookMs, resolve));
    } else {
      await finish(parts, owned, now);
    }
  }
}

/** Gives a move up, if it is not decided yet. @returns where it ends */
export async function abortMove(
  parts: MoveParts,
  move: BucketMove,
  options: DriveOptions,
): Promise<MoveReport> {
  await parts.write((owned) => decideMove(owned, move, 'aborting'));
  return driveMove(parts, move, options);
}

/** Every move that is under way, as far as it goes. @returns how many are over */
export async function driveMoves(parts: MoveParts, options: DriveOptions): Promise<number> {
  const { moves = [] } = await parts.read();
  const driven = await Promise.allSettled(moves.map((move) => driveMove(parts, move, options)));
  const failed = driven.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  return driven.filter((each) => each.status === 'fulfilled' && each.value.outcome !== 'draining').length;
}

/**
 * A SET that was lost and comes back: closes what it has no more. To be done before it serves again; the catalog says
 * what it has, so it can be repeated.
 */
export async function closeLostBuckets({ books, read }: MoveParts, set: string): Promise<void> {
  const { buckets } = await read();
  for (const book of await books(set)) {
    await book.open(heldBy(buckets, set));
    await book.closeAllBut(heldBy(buckets, set));
  }
}

interface Draining {
  readonly books: readonly BucketBook[];
  readonly left: readonly LeftOver[];
}

/** From now on the source admits nothing of what moves. */
async function close(parts: MoveParts, { buckets }: Owned, move: BucketMove): Promise<Draining> {
  const books = await parts.books(move.source);
  for (const book of books) {
    // A SET that was never given its buckets admits everything: there would be nothing to close.
    await book.open(heldBy(buckets, move.source));
    await book.close(move);
  }
  const left = await Promise.all(books.map((book) => book.left()));
  return { books, left: left.flat().filter(({ lane }) => isWithin(move, bucketOf(lane))) };
}

/** Nothing comes to what was left, but what was scheduled or undecided then. */
async function lookAgain({ books, left }: Draining, move: BucketMove): Promise<Draining> {
  if (left.length === 0) return { books, left };
  const still = await Promise.all(books.map((book) => book.left(left)));
  return { books, left: still.flat().filter(({ lane }) => isWithin(move, bucketOf(lane))) };
}

function isWithin({ from, to }: BucketSpan, bucket: number): boolean {
  return from <= bucket && bucket <= to;
}

async function finish(parts: MoveParts, owned: Owned, move: BucketMove): Promise<void> {
  await openAt(parts, owned, heirOf(move), [move]);
  await parts.write((newest) => endMove(newest, move));
}

/** With what it has already, in case it was never given that. */
async function openAt(
  { books }: MoveParts,
  { buckets }: Owned,
  set: string,
  gained: readonly Omit<Holding, 'set'>[],
): Promise<void> {
  const had = heldBy(buckets, set);
  for (const book of await books(set)) {
    await book.open(had.map(({ from, to, epoch }) => ({ from, to, epoch })));
    await book.open(gained.map(({ from, to, epoch }) => ({ from, to, epoch })));
  }
}

function ended({ buckets }: Owned, move: BucketMove): MoveReport {
  const isMoved = buckets.some(
    ({ from, to, set, epoch }) =>
      from <= move.from && move.from <= to && set === move.target && epoch >= move.epoch,
  );
  return { move, outcome: isMoved ? 'moved' : 'aborted', lanesLeft: 0, waitsFor: [] };
}

function reportOf(move: BucketMove, left: readonly LeftOver[]): MoveReport {
  const waitsFor = [...new Set(left.map((each) => each.waitsFor))].slice(0, 20);
  return { move, outcome: 'draining', lanesLeft: left.length, waitsFor };
}
