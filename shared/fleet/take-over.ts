/**
 * A SET is taken over: what it has accepted and not delivered goes to siblings, with its buckets.
 *
 *   catalog: fenced ─▶ its databases: fenced at epoch + 1 ─▶ plan: what leaves, who gets it
 *     ─▶ batch after batch: sibling takes in ─▶ copies elsewhere end ─▶ the SET sends off ─▶ … ─▶ catalog: buckets ─▶ end
 *
 * 1. *Fenced in the catalog*: edges offer it nothing new. Siblings take everything but its lanes from now on.
 * 2. *Fenced in its databases*: the tenure is taken from its hosts (shared/store/tenure.ts) after what they have in flight.
 *    A host that lives on, or wakes up later, changes nothing any more, so nothing that leaves is changed behind it.
 * 3. *The plan* is written in its database by whoever comes first, and is the same for everybody after: the list of what
 *    leaves in its order, which sibling gets each of its buckets with their lanes, and which one the rest.
 * 4. *A batch* is taken in under its own ids and then sent off. A sibling sends what was READY, delivers what was confirmed
 *    and has no outcome, waits with what has a time, and goes on with each stream where it stood. What was leased by a
 *    host of the old SET falls due at the sibling when that lease ends: a call under way then has ended by itself, so no
 *    lane is delivered by two at once. Lanes travel in their order and are numbered anew.
 * 5. *The buckets* change hands when all messages have: new ones of a lane are admitted by the sibling behind all older ones.
 *    Until then the lane's publishes are refused, for as long as the move takes.
 * 6. *The end*: schedules and callbacks go, and the SET may come back from then on.
 *
 * What if whoever does this dies, or two do it at once: every step may be repeated. Fenced stays fenced; the plan stands;
 * a batch that was taken in and not sent off is taken in again, which changes nothing, and sent off then; one that comes
 * late finds nothing to send off. It goes on where it stood, by the same command.
 *
 * Its database is away as well: nobody can take anything out of it. Its messages wait there, and it says so. What others
 * keep copies of (shared/publish/mirror.ts) is promoted: committed by the heir under the same ids, in the order in which
 * the copies came. Lanes stay closed, since what waits comes before what is new: order goes before availability. An
 * operator who knows that the database will not come back opens them, and gives up the order of what is left behind
 * (`lanes: 'open'`). When the database is back, the same command takes over what is still there; what was promoted is
 * known by its ids and only sent off.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { shardOf } from '../message/shard.ts';
import { asProblem, Problem } from '../problem.ts';
import { bucketOf } from '../sets/bucket.ts';
import type { FleetWrites } from '../sets/fleet-writes.ts';
import { heldBy, reassignBuckets } from '../sets/ownership.ts';
import { siblingsOf } from '../sets/sibling.ts';
import type { Goods, Handover, Hearer, TakeOverPlan } from '../store/handover.ts';
import type { Shelf } from '../store/shelf.ts';
import type { Store } from '../store/store.ts';
import { partOf } from './goods.ts';
import type { MoveParts } from './move-buckets.ts';
import { promoteMirrored } from './promote-mirrored.ts';

export interface TakeOverParts {
  /** The catalog as it is now. */
  readonly catalog: () => Promise<Catalog>;
  readonly writes: FleetWrites;
  /** One per shard, in shard order. @throws Problem `not-found` */
  readonly handovers: (set: string) => Promise<readonly Handover[]>;
  readonly shelves: (set: string) => Promise<readonly Shelf[]>;
  readonly stores: (set: string) => Promise<readonly Store[]>;
  /** Who hears what there. */
  readonly hearers: (set: string) => Promise<readonly Hearer[]>;
  readonly report: (line: string) => void;
  readonly moves: MoveParts;
}

export interface TakeOverWish {
  readonly set: string;
  /** Who gets it; without it the others that take new traffic, by their weights. */
  readonly by?: readonly string[] | undefined;
  /** Of a SET whose database is away. Absent: they stay closed. */
  readonly lanes?: 'open' | undefined;
}

export interface TakenOver {
  readonly set: string;
  readonly database: 'there' | 'away';
  /** Messages that left, or were promoted, now. */
  readonly moved: number;
  readonly heir: string;
}

/** Messages of one journey. */
const batchSize = 200;

/**
 * Safe to repeat, and to do twice at once.
 * @throws Problem `not-found`, `conflict` when nobody can be given anything, `database-unavailable` when a sibling or the
 *   center does not answer: repeat it
 * @example await takeOver(parts, { set: 'hangzhou' })
 */
export async function takeOver(parts: TakeOverParts, wish: TakeOverWish): Promise<TakenOver> {
  const { set } = wish;
  const catalog = await parts.catalog();
  // What cannot be done is refused before anything is changed.
  planFor(catalog, wish);
  await refuseHeir(parts, catalog, set);
  const homes = await parts.handovers(set);
  // Known to be away, it stays so until everything is taken out of it.
  await parts.writes.fence(set, catalog.fates?.get(set)?.database ?? 'there');
  // From here on nobody begins to move buckets from it: the plan knows all epochs.
  const wanted = planFor(await parts.catalog(), wish);
  const fences = await Promise.all(homes.map(async (home) => home.fence(set).catch(asProblem)));
  const failure = fences.find((fence) => fence instanceof Problem);
  if (failure instanceof Problem && failure.kind !== 'database-unavailable') throw failure;
  if (failure) {
    // Slow is not away: nobody goes on without what may be taken out.
    const looks = await Promise.all(
      homes.map(async (home) =>
        home.progress(set).then(
          () => true,
          () => false,
        ),
      ),
    );
    if (looks.includes(true)) throw failure;
    return withoutDatabase(parts, wish, wanted);
  }
  parts.report(`SET "${set}" is fenced: its hosts can do nothing any more.`);
  const hearers = await parts.hearers(set);
  const plan = await agree(homes, { set, hearers, wanted });
  let moved = 0;
  for (const home of homes) moved += await moveAll(parts, { set, home, hearers, plan });
  // Before the end is written, which lets it come back: with its buckets it would admit to lanes that others deliver.
  await parts.writes.bequeath(set, plan.given);
  for (const home of homes) await endAt(parts, { set, home, plan });
  parts.report(`${moved} messages were taken over, and its buckets belong to others now.`);
  return { set, database: 'there', moved, heir: plan.heir };
}

/**
 * One that takes over from another goes after it: what it has taken in and what is still to come would part ways. Its
 * hosts need not live for that, only its database.
 * @throws Problem `conflict`
 */
async function refuseHeir(parts: TakeOverParts, { sets }: Catalog, set: string): Promise<void> {
  const fenced = [...sets.values()].filter(({ id, status }) => id !== set && status === 'fenced');
  for (const { id } of fenced) {
    const homes = await parts.handovers(id);
    const isHeirIn = async (home: Handover): Promise<boolean> => {
      const [{ state }, plan] = await Promise.all([home.progress(id), home.lastPlan(id)]);
      if (state !== 'begun' || !plan) return false;
      const { heir, central, given } = plan;
      return [heir, central, ...given.map((holding) => holding.set)].includes(set);
    };
    // One whose database is away goes on with nothing.
    const heirs = await Promise.all(homes.map(async (home) => isHeirIn(home).catch(() => false)));
    if (heirs.includes(true))
      throw new Problem(
        'conflict',
        `SET "${set}" is taking over from "${id}". End that first: setway sets take-over ${id}`,
      );
  }
}

/** @throws Problem `not-found`, `conflict` */
function planFor(catalog: Catalog, { set, by }: TakeOverWish): TakeOverPlan {
  const { sets, table } = catalog;
  if (!sets.has(set)) throw new Problem('not-found', `There is no SET "${set}".`);
  const others = siblingsOf(table, set, 'anywhere').filter(({ id }) => by === undefined || by.includes(id));
  const missing = by?.find((id) => !others.some((other) => other.id === id));
  if (missing !== undefined)
    throw new Problem('conflict', `SET "${missing}" cannot take over: it takes no new traffic.`);
  const [heir] = others;
  if (!heir) throw new Problem('conflict', 'There is no other SET that takes new traffic.');
  const { buckets } = reassignBuckets({ buckets: table.ranges, moves: catalog.moves }, set, others);
  // As an edge finds the home of a lane that may not leave the centers.
  const central = others.filter(({ kind }) => kind === 'center').toSorted((a, b) => a.number - b.number)[0];
  const given = heldBy(table.ranges, set).flatMap((range) =>
    buckets.flatMap((holding) => {
      const [from, to] = [Math.max(range.from, holding.from), Math.min(range.to, holding.to)];
      return from <= to ? [{ ...holding, from, to }] : [];
    }),
  );
  return { heir: heir.id, central: (central ?? heir).id, holdings: buckets, given };
}

interface Agreeing {
  readonly set: string;
  readonly hearers: readonly Hearer[];
  readonly wanted: TakeOverPlan;
}

/** All shards by the plan that the first one has. */
async function agree(homes: readonly Handover[], { set, hearers, wanted }: Agreeing): Promise<TakeOverPlan> {
  let plan = wanted;
  for (const home of homes) plan = await home.plan(set, hearers, plan);
  return plan;
}

interface Moving {
  readonly set: string;
  readonly home: Handover;
  readonly hearers: readonly Hearer[];
  readonly plan: TakeOverPlan;
}

async function moveAll(parts: TakeOverParts, moving: Moving): Promise<number> {
  const { set, home, hearers } = moving;
  let moved = 0;
  for (;;) {
    const goods = await home.next(set, hearers, batchSize);
    if (goods.messages.length === 0) break;
    await moveBatch(parts, moving, goods);
    moved += goods.messages.length;
  }
  return moved;
}

/** What belongs to no message goes as well. */
async function endAt(
  parts: TakeOverParts,
  { set, home, plan }: Pick<Moving, 'set' | 'home' | 'plan'>,
): Promise<void> {
  const belongings = await home.belongings(set);
  await (await parts.handovers(plan.heir))[0]?.takeInBelongings(plan.heir, belongings);
  await home.end(set, belongings);
}

async function moveBatch(
  parts: TakeOverParts,
  { set, home, hearers, plan }: Moving,
  goods: Goods,
): Promise<void> {
  const { topics } = await parts.catalog();
  const isCentral = (topic: string): boolean => topics.get(topic)?.scope === 'center';
  const byTarget = Map.groupBy(goods.messages, ({ topic, lane }) => {
    if (isCentral(topic)) return plan.central;
    return lane === null ? plan.heir : heirOfLane(plan, lane);
  });
  for (const [target, messages] of byTarget) {
    const shards = await parts.handovers(target);
    const byShard = Map.groupBy(messages, ({ id }) => shardOf(id, shards.length));
    for (const [shard, some] of byShard) {
      const part = partOf(goods, some);
      await shards[shard]?.takeIn(target, set, part, hearers);
      await endCopies(parts, set, some);
      await home.sendOff(set, target, part, hearers);
    }
  }
}

function heirOfLane({ holdings, heir }: TakeOverPlan, lane: string): string {
  const bucket = bucketOf(lane);
  return holdings.find(({ from, to }) => from <= bucket && bucket <= to)?.set ?? heir;
}

/** Copies that siblings keep of what is in another database now. One whose keeper is away goes by its age. */
async function endCopies(parts: TakeOverParts, home: string, messages: Goods['messages']): Promise<void> {
  const byKeeper = Map.groupBy(messages, ({ mirror }) => mirror);
  for (const [keeper, copies] of byKeeper) {
    if (keeper === null) continue;
    const shelves = await parts.shelves(keeper).catch(() => []);
    const byShard = Map.groupBy(
      copies.map(({ id }) => id),
      (id) => shardOf(id, Math.max(1, shelves.length)),
    );
    await Promise.allSettled([...byShard].map(async ([shard, ids]) => shelves[shard]?.drop(home, ids)));
  }
}

/** Nothing can be taken out of a database that does not answer. */
async function withoutDatabase(
  parts: TakeOverParts,
  { set, lanes }: TakeOverWish,
  plan: TakeOverPlan,
): Promise<TakenOver> {
  await parts.writes.fence(set, 'away');
  parts.report(`The database of SET "${set}" does not answer: what it holds waits there.`);
  const moved = await promoteMirrored(parts, { home: set, heir: plan.heir });
  parts.report(`${moved} messages were promoted from the copies that others keep.`);
  if (lanes !== 'open') {
    parts.report('Its lanes stay closed until the database is back, or you open them without it.');
    return { set, database: 'away', moved, heir: plan.heir };
  }
  // All to the one that has the copies: their lanes go on there.
  await parts.writes.bequeath(
    set,
    plan.given.map((holding) => ({ ...holding, set: plan.heir })),
  );
  parts.report(`Its buckets belong to ${plan.heir} now, whatever its database still holds.`);
  return { set, database: 'away', moved, heir: plan.heir };
}
