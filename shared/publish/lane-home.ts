/**
 * The one SET of a lane. Order in a lane is the order of commits in one database, so a lane has one home for all
 * publishers, wherever they are and whatever is healthy: the SET that its publisher names, else the SET that has its
 * bucket. The offer carries bucket and epoch, and the SET admits only what it has at that epoch: an
 * edge that knows an older one is refused, and corrects itself (at-home.ts). While its home is away a lane's publishes are
 * refused for now, and other lanes go on; a SET that is taken over leaves its lanes to those who get its buckets, and one
 * that drains keeps them until its buckets have moved.
 *
 * Pins carry no lanes: an edge that knows an older pin could not be refused, since a pin has no epoch, and two SETs would
 * have messages of one lane. Who wants a lane elsewhere moves its bucket.
 *
 * Topics that never leave the center have their lanes in the center whatever the buckets say. In a catalog that was
 * written before buckets were assigned, one of the SETs is chosen by the lane's name.
 */
import { findRange, type RouteTable } from '../sets/route-table.ts';
import { bucketOf } from '../sets/bucket.ts';
import { route, type Candidate, type RouteRequest } from '../sets/route.ts';
import { whenAllAreWell } from '../sets/well-table.ts';
import { noneLeft } from './offer-in-turn.ts';

/** @throws Problem `set-unavailable` while there is no home; what `route` says of an explicit choice */
export function laneHome(table: RouteTable, request: RouteRequest, lane: string): Candidate {
  const rules = request.topic.rules.filter((rule) => rule === 'explicit');
  const asked = {
    topic: { ...request.topic, rules },
    ...(request.choice === undefined ? {} : { choice: request.choice }),
  };
  const well = whenAllAreWell(table);
  const [first] = route(asked, well, () => true, { random: () => 0, limit: 1 });
  if (first?.reason === 'explicit') return first;
  if (isLeftBehind(table, request)) throw noneLeft();
  const home = ownerOf(table, request, lane) ?? standIn(table, asked, lane);
  if (!home || home.set.status === 'fenced') throw noneLeft();
  return home;
}

/**
 * Meant for a SET that is fenced and not taken over: what it has of the lane goes before what is new. When its buckets are
 * others', so is what it had.
 */
function isLeftBehind(table: RouteTable, { choice }: RouteRequest): boolean {
  const set = table.sets[table.positions.get(choice?.set ?? '') ?? -1];
  return set?.status === 'fenced' && table.ranges.some((range) => range.set === set.id);
}

/** Where the buckets have no say: the first center, or, before buckets were assigned, by the lane's name. */
function standIn(table: RouteTable, asked: RouteRequest, lane: string): Candidate | undefined {
  const everybody = { random: () => 0, limit: table.sets.length };
  const candidates = route(asked, whenAllAreWell(table), () => true, everybody);
  const numbered = candidates.toSorted((a, b) => a.set.number - b.set.number);
  return numbered[table.ranges.length > 0 ? 0 : bucketOf(lane) % numbered.length];
}

/** Undefined where the buckets have no say. */
function ownerOf(table: RouteTable, { topic }: RouteRequest, lane: string): Candidate | undefined {
  const range = findRange(table, lane);
  const set = table.sets[table.positions.get(range?.set ?? '') ?? -1];
  if (!range || !set || (topic.scope === 'center' && set.kind !== 'center')) return undefined;
  return { set, reason: 'key', bucket: bucketOf(lane), epoch: range.epoch };
}
