/**
 * Which SETs may take a message, in which order, and why. Pure: everything comes in as data.
 *
 * The topic's rules are asked in their order:
 *
 *     explicit  the publisher named a SET
 *     pin       the key (in this topic, or in all) is pinned to a SET
 *     key       the SET that has the key's bucket
 *     nearest   the nearest usable SET; says nothing when the place is unknown
 *     center    the nearest usable center; without a place, one of the centers by weight
 *
 * The first rule that names a SET decides; what the later rules name, and then all other SETs, the nearest first, are
 * there for failover. When no rule names one (`fallback`), the nearest come first, or, without a place, the centers.
 *
 * - **Usable first.** SETs that are down or whose breaker is open come last, but they come: with nothing else left, a
 *   try costs little and may succeed.
 * - **As good as equal.** SETs that are no more than 10 km farther than the nearest usable one share the traffic by
 *   weight: light needs 0.1 ms there and back over that distance. Without a place the weights alone decide.
 * - **Loaded SETs.** What nothing binds to a SET (no key, no order, no choice) passes a loaded one over by chance
 *   (load.ts), and one that is let in slowly: it then comes after the other usable ones, and gets the message all the
 *   same when those are passed over too, or do not take it. Which SETs are named does not depend on the draw.
 * - **Who takes new traffic.** `draining` and `fenced` SETs take none, not even by explicit choice. Weight 0 takes what
 *   names the SET explicitly and nothing else, which is how to try out a new SET. In a topic of scope `center` only
 *   centers take part.
 * - **`only`.** The explicit choice with fallback `only` is that SET and no other, healthy or not, whatever the order
 *   of the rules.
 */
import { Problem } from '../problem.ts';
import type { RouteChoice } from '../message/message.ts';
import type { RouteRule, Topic } from '../subscriptions/subscription.ts';
import { chordToKm, kmToChord, squaredChord, toUnitVector, type UnitVector } from './distance.ts';
import { bucketOf } from './bucket.ts';
import { findPin, findRange, findSet, type Group, type RouteTable } from './route-table.ts';
import type { Place, SetDefinition } from './set.ts';

/** `spill`: the SET that was meant passed it on; `failover`: another SET was meant; `fallback`: no rule named one. */
export type RouteReason = RouteRule | 'spill' | 'failover' | 'fallback';

export interface RouteRequest {
  readonly topic: Topic;
  readonly key?: string | undefined;
  readonly choice?: RouteChoice | undefined;
  readonly place?: Place | undefined;
  /** `stays`: goes where the rules say, however loaded that SET is. So does what has a key. */
  readonly balance?: 'stays' | undefined;
}

export interface Candidate {
  readonly set: SetDefinition;
  readonly reason: RouteReason;
  /** From the request's place, if that is known. */
  readonly distanceKm?: number;
  /** Bucket of the key and the epoch of its owner, when the key decided. */
  readonly bucket?: number;
  readonly epoch?: number;
}

export interface RouteOptions {
  /** Returns [0, 1): draws among SETs that are as good as equal. */
  readonly random?: () => number;
  /** How many candidates to name. An edge has time for a few; ordering a thousand SETs has a price. */
  readonly limit?: number;
}

/** Distance at which SETs count as equally near, in kilometres. */
export const equalDistanceKm = 10;
const defaultLimit = 8;

/**
 * The SETs to try, in order. Empty when no SET takes new traffic.
 * @param usable whether the breaker of a SET lets requests through; health is in the table
 * @throws Problem `not-found` for an explicit SET nobody knows; `invalid-request` for one the topic cannot use;
 *   `set-unavailable` for `only` a SET that takes nothing new
 * @example route({ topic, place }, table, breakers.usable)[0]?.set.id // 'hangzhou'
 */
export function route(
  request: RouteRequest,
  table: RouteTable,
  usable: (setId: string) => boolean,
  options: RouteOptions = {},
): Candidate[] {
  const view = createView(request, table, usable, options);
  if (request.choice?.fallback === 'only') return [candidateAt(view, chosenOnly(view), 'explicit')];
  return collect(view);
}

/** One decision under way: the request, the table, and what both say together. */
interface View {
  readonly request: RouteRequest;
  readonly table: RouteTable;
  readonly origin: UnitVector | undefined;
  readonly isUsable: (position: number) => boolean;
  readonly random: () => number;
  readonly limit: number;
  /** Drawn once per SET and decision. */
  readonly isPassedOver: (position: number) => boolean;
}

function createView(
  request: RouteRequest,
  table: RouteTable,
  usable: (setId: string) => boolean,
  options: RouteOptions,
): View {
  const random = options.random ?? Math.random;
  return {
    request,
    table,
    origin: request.place && toUnitVector(request.place),
    isUsable: (position) => table.health[position] !== 'down' && usable(table.sets[position]?.id ?? ''),
    random,
    limit: options.limit ?? defaultLimit,
    isPassedOver: isFree(request) && table.passing ? drawPassing(table.passing, random) : never,
  };
}

const never = (): boolean => false;

/** Nothing binds it to a SET. */
export function isFree({ key, choice, balance }: RouteRequest): boolean {
  return key === undefined && choice === undefined && balance === undefined;
}

function drawPassing(passing: Float64Array, random: () => number): (position: number) => boolean {
  // A few SETs are asked about: lists are faster than a map.
  const passed: number[] = [];
  const kept: number[] = [];
  return (position) => {
    const chance = passing[position] ?? 0;
    if (chance === 0 || kept.includes(position)) return false;
    if (passed.includes(position)) return true;
    const isPassed = random() < chance;
    (isPassed ? passed : kept).push(position);
    return isPassed;
  };
}

/** Asks the rules, then everybody, and sorts the answers into usable and not. */
function collect(view: View): Candidate[] {
  const usable: number[] = [];
  const unusable: number[] = [];
  let intended: { position: number; rule: RouteRule } | undefined;
  checkChoice(view);
  const add = (position: number): void => {
    if (usable.includes(position) || unusable.includes(position)) return;
    (view.isUsable(position) ? usable : unusable).push(position);
  };
  for (const rule of view.request.topic.rules) {
    const positions = ask(view, rule);
    const [first] = positions;
    if (first !== undefined) intended ??= { position: first, rule };
    positions.forEach(add);
    if (usable.length >= view.limit || (rule === 'nearest' && view.origin)) break; // `nearest` has named every SET
  }
  if (usable.length < view.limit) rankEverybody(view).forEach(add);
  const named = [...usable, ...unusable].slice(0, view.limit);
  return passedOn(view, named, usable.length).map((position, turn) => {
    if (turn === 0 && position !== named[0]) return candidateAt(view, position, 'spill');
    const reason = intended ? (position === intended.position ? intended.rule : 'failover') : 'fallback';
    return candidateAt(view, position, reason);
  });
}

/** The same SETs: those that are passed over, up to the first that is not, go behind the other usable ones. */
function passedOn(view: View, named: readonly number[], usableCount: number): readonly number[] {
  if (view.isPassedOver === never) return named;
  const usable = Math.min(usableCount, named.length);
  let passed = 0;
  while (passed < usable && view.isPassedOver(named[passed] ?? -1)) passed++;
  if (passed === 0 || passed === usable) return named;
  return [...named.slice(passed, usable), ...named.slice(0, passed), ...named.slice(usable)];
}

/** The SETs a rule names, in order; none when it has nothing to say. */
function ask(view: View, rule: RouteRule): readonly number[] {
  const { request, table, origin } = view;
  switch (rule) {
    case 'explicit':
      return ifTaking(view, request.choice?.set, 'even with weight 0');
    case 'pin':
      return request.key === undefined ? [] : ifTaking(view, findPin(table, request.topic.name, request.key));
    case 'key':
      return request.key === undefined ? [] : ifTaking(view, findRange(table, request.key)?.set);
    case 'nearest':
      return origin ? rank(view, openTo(view)) : [];
    case 'center':
      return rank(view, table.openCenters);
  }
}

/** The SET as a list of one if it may take this message, else an empty list. */
function ifTaking(view: View, id: string | undefined, weightless?: 'even with weight 0'): readonly number[] {
  const position = id === undefined ? undefined : view.table.positions.get(id);
  const set = view.table.sets[position ?? -1];
  if (!set || position === undefined || set.status !== 'active') return [];
  if (set.weight === 0 && weightless === undefined) return [];
  return isInScope(set, view.request.topic) ? [position] : [];
}

function openTo({ request, table }: View): Group {
  return request.topic.scope === 'center' ? table.openCenters : table.open;
}

/** With a place the nearest first; without, centers before units. */
function rankEverybody(view: View): readonly number[] {
  const everybody = rank(view, openTo(view));
  return view.origin ? everybody : [...rank(view, view.table.openCenters), ...everybody];
}

/** The best `limit` members of a group, usable before unusable. */
function rank(view: View, group: Group): number[] {
  const { origin } = view;
  return origin ? rankByDistance(view, group, origin) : rankByWeight(view, group);
}

/**
 * As good as equal by lot, then by distance. Asks `isUsable` only for SETs that would enter the list: with a thousand
 * SETs that is a few dozen.
 */
function rankByDistance(view: View, group: Group, origin: UnitVector): number[] {
  const { chords, nearest } = measure(view, group, origin);
  const equalChord = kmToChord(chordToKm(nearest) + equalDistanceKm);
  const usable = createShortList(view.limit);
  const unusable = createShortList(view.limit);
  let farthest = Infinity;
  for (let member = 0; member < group.positions.length; member++) {
    const chord = chords[member] ?? Infinity;
    if (chord > farthest) continue;
    const position = group.positions[member] ?? -1;
    if (view.isUsable(position)) usable.add(position, chord <= equalChord ? draw(view, position) : chord);
    else unusable.add(position, chord);
    farthest = Math.max(equalChord, usable.worst());
  }
  return [...usable.positions, ...unusable.positions].slice(0, view.limit);
}

/** Chords of the decision that is being made: a fresh array for each would cost more than the decision. */
let scratch = new Float64Array(0);

/** Squared chords to all members, and the least of those to usable ones. Good until the next call. */
function measure(
  view: View,
  group: Group,
  { x, y, z }: UnitVector,
): { chords: Float64Array; nearest: number } {
  const { positions, vectors } = group;
  if (scratch.length < positions.length) scratch = new Float64Array(positions.length);
  const chords = scratch;
  let nearest = Infinity;
  for (let member = 0, at = 0; member < positions.length; member++, at += 3) {
    const dx = (vectors[at] ?? 0) - x;
    const dy = (vectors[at + 1] ?? 0) - y;
    const dz = (vectors[at + 2] ?? 0) - z;
    const chord = dx * dx + dy * dy + dz * dz;
    chords[member] = chord;
    if (chord < nearest && view.isUsable(positions[member] ?? -1)) nearest = chord;
  }
  return { chords, nearest };
}

/**
 * A number in [−1, 0), before every distance: the lowest of several wins with a chance proportional to its weight
 * (exponential race: the least of −ln(u) / weight).
 */
function draw({ random, table }: View, position: number): number {
  const arrival = -Math.log(1 - random()) / (table.sets[position]?.weight ?? 1);
  return arrival / (1 + arrival) - 1;
}

/** So often another lot is drawn when the SET it fell on is passed over. */
const furtherLots = 3;

/**
 * The first by lot, a chance proportional to its weight; from there on round by number. What it passes on goes by lot too,
 * or its neighbour would get all of that.
 */
function rankByWeight(view: View, { positions, weightSums }: Group): number[] {
  const usable: number[] = [];
  const unusable: number[] = [];
  const lot = (): number => firstAbove(weightSums, view.random() * (weightSums.at(-1) ?? 0));
  const add = (member: number): void => {
    const position = positions[member % positions.length] ?? -1;
    (view.isUsable(position) ? usable : unusable).push(position);
  };
  const lots = [lot()];
  while (lots.length <= furtherLots && view.isPassedOver(positions[lots.at(-1) ?? 0] ?? -1)) lots.push(lot());
  const drawn = new Set(lots);
  if (positions.length > 0) for (const member of drawn) add(member);
  const last = lots.at(-1) ?? 0;
  for (let step = 1; step < positions.length && usable.length < view.limit; step++)
    if (!drawn.has((last + step) % positions.length)) add(last + step);
  return [...usable, ...unusable].slice(0, view.limit);
}

/** Index of the first of rising numbers that is greater than `bound`, by halving. */
function firstAbove(rising: Float64Array, bound: number): number {
  let from = 0;
  let to = rising.length - 1;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((rising[middle] ?? 0) > bound) to = middle;
    else from = middle + 1;
  }
  return from;
}

/** Keeps the `limit` positions of lowest order, sorted. Moves numbers within two arrays: `splice` would cost more than all the rest. */
function createShortList(limit: number) {
  const positions: number[] = [];
  const orders: number[] = [];
  const worst = (): number => (positions.length < limit ? Infinity : (orders[limit - 1] ?? -Infinity));
  return {
    positions,
    /** What a newcomer must be below. */
    worst,
    add(position: number, order: number): void {
      if (order >= worst()) return;
      let place = Math.min(orders.length, limit - 1);
      for (; place > 0 && (orders[place - 1] ?? 0) > order; place--) {
        orders[place] = orders[place - 1] ?? 0;
        positions[place] = positions[place - 1] ?? -1;
      }
      orders[place] = order;
      positions[place] = position;
    },
  };
}

function candidateAt(view: View, position: number, reason: RouteReason): Candidate {
  const { request, table, origin } = view;
  const set = table.sets[position];
  if (!set) throw new Problem('internal', `The route table has no SET at ${position}.`);
  const range = reason === 'key' && request.key !== undefined ? findRange(table, request.key) : undefined;
  return {
    set,
    reason,
    ...(origin ? { distanceKm: chordToKm(squaredChord(origin, toUnitVector(set.place))) } : {}),
    ...(range && request.key !== undefined ? { bucket: bucketOf(request.key), epoch: range.epoch } : {}),
  };
}

/** An explicit choice that cannot be meant is a fault, never silently another SET. */
function checkChoice({ request, table }: View): void {
  if (!request.choice) return;
  const { topic } = request;
  const set = findSet(table, request.choice.set);
  if (!topic.rules.includes('explicit')) {
    throw new Problem('invalid-request', `Topic "${topic.name}" does not let publishers choose the SET.`);
  }
  if (!isInScope(set, topic)) {
    throw new Problem(
      'invalid-request',
      `Topic "${topic.name}" never leaves the center, and SET "${set.id}" is a unit. Choose a center or none.`,
    );
  }
}

function chosenOnly(view: View): number {
  checkChoice(view);
  const [position] = ask(view, 'explicit');
  if (position !== undefined) return position;
  const id = view.request.choice?.set ?? '';
  const { status } = findSet(view.table, id);
  throw new Problem('set-unavailable', `SET "${id}" is ${status} and takes nothing new.`, {
    retryAfterSeconds: 60,
  });
}

export function isInScope(set: SetDefinition, topic: Topic): boolean {
  return topic.scope !== 'center' || set.kind === 'center';
}
