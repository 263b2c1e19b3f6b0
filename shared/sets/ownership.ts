/**
 * Who has which buckets: pure. A bucket belongs to one SET at one epoch; it changes hands only by a greater epoch, so
 * that whoever knows an older one is refused, whatever its clock says (shared/fleet/move-buckets.ts).
 *
 * A move is written in the catalog before anything is done, and every step is decided by a change of the catalog that
 * only one of many can make:
 *
 *   draining ──drained──▶ opening  ──▶ the target has the buckets, at the move's epoch
 *      └─────gave up────▶ aborting ──▶ the source has them still, at the move's epoch
 */
import { Problem } from '../problem.ts';
import { bucketCount } from './bucket.ts';

/** Buckets `from` to `to`, both included, belong to `set` since `epoch`. */
export interface Holding {
  readonly from: number;
  readonly to: number;
  readonly set: string;
  readonly epoch: number;
}

export interface BucketSpan {
  readonly from: number;
  readonly to: number;
}

export interface BucketMove extends BucketSpan {
  readonly source: string;
  readonly target: string;
  /** Of the buckets after it, wherever they end. */
  readonly epoch: number;
  readonly state: 'draining' | 'opening' | 'aborting';
  /** Whoever finds it draining after this gives it up, in Unix milliseconds. */
  readonly untilMs: number;
}

/** What the catalog says of buckets. */
export interface Ownership {
  readonly buckets: readonly Holding[];
  readonly moves?: readonly BucketMove[] | undefined;
}

/** A SET as far as it can be given buckets. */
export interface Heir {
  readonly id: string;
  readonly weight: number;
  readonly status: string;
}

export function isWithinBuckets({ from, to }: BucketSpan): boolean {
  return Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to < bucketCount;
}

interface Owner {
  readonly set: string;
  readonly epoch: number;
}

/** Per bucket who has it. */
function ownersOf(buckets: readonly Holding[]): (Owner | undefined)[] {
  const owners = Array.from<Owner | undefined>({ length: bucketCount });
  for (const { from, to, set, epoch } of buckets) owners.fill({ set, epoch }, from, to + 1);
  return owners;
}

function holdingsOf(owners: readonly (Owner | undefined)[]): readonly Holding[] {
  const holdings: Holding[] = [];
  for (const [bucket, owner] of owners.entries()) {
    const last = holdings.at(-1);
    if (!owner) continue;
    if (last?.to === bucket - 1 && last.set === owner.set && last.epoch === owner.epoch)
      holdings[holdings.length - 1] = { ...last, to: bucket };
    else holdings.push({ from: bucket, to: bucket, ...owner });
  }
  return holdings;
}

/**
 * Gives what nobody has to the SETs that take new traffic, evenly by weight, at the epoch after the last one it had.
 * @param known as the catalog has it: stays as it is, while its SET is there
 * @param wished whom unassigned buckets should go to, if anybody said so
 */
export function assignBuckets(
  known: readonly Holding[],
  wished: readonly Holding[],
  sets: readonly Heir[],
): readonly Holding[] {
  const ids = new Set(sets.map(({ id }) => id));
  const wishes = ownersOf(wished);
  const before = ownersOf(known);
  const owners = before.map((owner, bucket): Owner | undefined => {
    if (owner && ids.has(owner.set)) return owner;
    const wish = wishes[bucket];
    return wish && { set: wish.set, epoch: Math.max(wish.epoch, (owner?.epoch ?? 0) + 1) };
  });
  const free = [...owners.keys()].filter((bucket) => owners[bucket] === undefined);
  for (const { set, members } of dealt(free, sets.filter(isHeir)))
    for (const bucket of members) owners[bucket] = { set, epoch: (before[bucket]?.epoch ?? 0) + 1 };
  return holdingsOf(owners);
}

function isHeir({ status, weight }: Heir): boolean {
  return status === 'active' && weight > 0;
}

/** Slices of a list, as long as the weights say. */
function dealt(
  buckets: readonly number[],
  heirs: readonly Heir[],
): readonly { readonly set: string; readonly members: readonly number[] }[] {
  const total = heirs.reduce((sum, { weight }) => sum + weight, 0);
  let upTo = 0;
  return heirs.map(({ id, weight }) => {
    const from = Math.round((buckets.length * upTo) / total);
    upTo += weight;
    return { set: id, members: buckets.slice(from, Math.round((buckets.length * upTo) / total)) };
  });
}

/** What one SET has. */
export function heldBy(buckets: readonly Holding[], set: string): readonly Holding[] {
  return buckets.filter((holding) => holding.set === set);
}

/** A move as it is written before anything is done. */
export type MoveWish = BucketSpan & Pick<BucketMove, 'target' | 'untilMs'>;

/**
 * @returns the ownership with the move in it; the same one asked for twice is one move, and none when the target has the
 * buckets already
 * @throws Problem `conflict` when buckets of it have no owner or several, or are on the move
 */
export function beginMove(ownership: Ownership, { from, to, target, untilMs }: MoveWish): Ownership {
  const { buckets, moves = [] } = ownership;
  const known = moves.find((move) => move.from === from && move.to === to && move.target === target);
  if (known) return ownership;
  const busy = moves.find((move) => move.from <= to && move.to >= from);
  if (busy)
    throw new Problem(
      'conflict',
      `Buckets ${busy.from} to ${busy.to} are on their way from "${busy.source}" to "${busy.target}".`,
    );
  const owners = ownersOf(buckets).slice(from, to + 1);
  const [first] = owners;
  if (!first || owners.some((owner) => owner?.set !== first.set))
    throw new Problem(
      'conflict',
      `Buckets ${from} to ${to} do not all belong to one SET. Move the range of each SET by itself.`,
    );
  if (first.set === target) return ownership;
  const epoch = Math.max(...owners.map((owner) => owner?.epoch ?? 0)) + 1;
  const move = { from, to, source: first.set, target, epoch, state: 'draining', untilMs } as const;
  return { ...ownership, moves: [...moves, move] };
}

/** Decides a move that is draining: of many who try, one does. @returns undefined when it is decided, or over */
export function decideMove(
  ownership: Ownership,
  move: BucketMove,
  state: 'opening' | 'aborting',
): Ownership | undefined {
  const { moves = [] } = ownership;
  const found = moves.find((each) => isSameMove(each, move));
  if (found?.state !== 'draining') return undefined;
  return { ...ownership, moves: moves.map((each) => (each === found ? { ...each, state } : each)) };
}

/** Ends a move whose buckets are open where they belong. @returns undefined when it is over already */
export function endMove(ownership: Ownership, move: BucketMove): Ownership | undefined {
  const { buckets, moves = [] } = ownership;
  const found = moves.find((each) => isSameMove(each, move));
  if (!found || found.state === 'draining') return undefined;
  const owners = ownersOf(buckets);
  owners.fill({ set: heirOf(found), epoch: found.epoch }, found.from, found.to + 1);
  return {
    ...ownership,
    buckets: holdingsOf(owners),
    moves: moves.filter((each) => each !== found),
  };
}

/** Where the buckets of a decided move are opened. */
export function heirOf({ state, source, target }: BucketMove): string {
  return state === 'opening' ? target : source;
}

/** The epoch tells a move from an earlier one of the same buckets. */
export function isSameMove(a: BucketMove, b: BucketMove): boolean {
  return a.from === b.from && a.to === b.to && a.epoch === b.epoch && a.target === b.target;
}

/**
 * Gives all buckets of a SET that is lost to others, each at an epoch that no host and no edge knows. Moves from it are
 * over; of those to it, the buckets stay where they were.
 * @param heirs ids by weight; those that take no new traffic get none
 * @throws Problem `conflict` when nobody is left
 */
export function reassignBuckets(ownership: Ownership, lost: string, sets: readonly Heir[]): Ownership {
  const { buckets, moves = [] } = ownership;
  const heirs = sets.filter((set) => set.id !== lost && isHeir(set));
  if (heirs.length === 0) throw new Problem('conflict', 'There is no other SET that takes new traffic.');
  const owners = ownersOf(buckets);
  const nextEpoch = (bucket: number): number =>
    Math.max(
      owners[bucket]?.epoch ?? 0,
      ...moves.filter(({ from, to }) => from <= bucket && bucket <= to).map(({ epoch }) => epoch),
    ) + 1;
  const freed = [...owners.keys()].filter((bucket) => owners[bucket]?.set === lost);
  for (const { set, members } of dealt(freed, heirs))
    for (const bucket of members) owners[bucket] = { set, epoch: nextEpoch(bucket) };
  return { ...ownership, buckets: holdingsOf(owners), moves: movesWithout(moves, lost) };
}

/**
 * Gives buckets of a SET that was taken over to others, at the epochs of the plan: those that are its own still. Moves
 * from it are over; what was on its way to it stays where it was.
 */
export function giveAway(ownership: Ownership, lost: string, holdings: readonly Holding[]): Ownership {
  const { buckets, moves } = ownership;
  const owners = ownersOf(buckets);
  const heirs = ownersOf(holdings);
  for (const [bucket, owner] of owners.entries()) {
    const heir = heirs[bucket];
    if (heir && owner?.set === lost && heir.epoch > owner.epoch) owners[bucket] = heir;
  }
  const given = { ...ownership, buckets: holdingsOf(owners) };
  return moves === undefined ? given : { ...given, moves: movesWithout(moves, lost) };
}

function movesWithout(moves: readonly BucketMove[], lost: string): readonly BucketMove[] {
  return moves
    .filter(({ source }) => source !== lost)
    .map((move) =>
      move.target === lost && move.state !== 'aborting'
        ? { ...move, state: 'aborting', epoch: move.epoch + 1 }
        : move,
    );
}

/**
 * Gives up moves from and to a SET that is about to be taken over, as far as they are not decided: what is taken out of
 * it is not delivered, although nothing of it is left there.
 */
export function callOff(ownership: Ownership, lost: string): Ownership {
  const { moves } = ownership;
  if (moves === undefined) return ownership;
  const isItsOwn = ({ source, target }: BucketMove): boolean => source === lost || target === lost;
  return {
    ...ownership,
    moves: moves.map((move) =>
      move.state === 'draining' && isItsOwn(move) ? { ...move, state: 'aborting' } : move,
    ),
  };
}
