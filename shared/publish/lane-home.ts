/**
 * The one SET of a lane. Order in a lane is the order of commits in one database, so a lane has one home for all
 * publishers, wherever they are and whatever is healthy: what is pinned or owns the lane's bucket, else one of the SETs
 * that take new traffic, chosen by the lane's name. A lane never fails over: while its home is away its publishes are
 * refused for now, and other lanes go on.
 */
import type { RouteTable } from '../sets/route-table.ts';
import { bucketOf } from '../sets/bucket.ts';
import { route, type Candidate, type RouteRequest } from '../sets/route.ts';
import { whenAllAreWell } from '../sets/well-table.ts';
import { noneLeft } from './offer-in-turn.ts';

/** Rules that say the same wherever the publisher is. */
const steady: ReadonlySet<string> = new Set(['explicit', 'pin', 'key']);

export function laneHome(table: RouteTable, request: RouteRequest, lane: string): Candidate {
  const rules = request.topic.rules.filter((rule) => steady.has(rule));
  const asked = {
    topic: { ...request.topic, rules },
    key: lane,
    ...(request.choice === undefined ? {} : { choice: request.choice }),
  };
  const candidates = route(asked, whenAllAreWell(table), () => true, {
    random: () => 0,
    limit: table.sets.length,
  });
  const [first] = candidates;
  if (first && steady.has(first.reason)) return first;
  const numbered = candidates.toSorted((a, b) => a.set.number - b.set.number);
  const home = numbered[bucketOf(lane) % numbered.length];
  if (!home) throw noneLeft();
  return home;
}
