/** How a routing decision comes about, rule by rule: for `GET /v1/sets/route`. */
import type { RouteRule } from '../subscriptions/subscription.ts';
import { bucketOf } from './bucket.ts';
import { findPin, findRange, type RouteTable } from './route-table.ts';
import {
  isFree,
  isInScope,
  route,
  type Candidate,
  type RouteOptions,
  type RouteReason,
  type RouteRequest,
} from './route.ts';
import type { SetDefinition, SetHealth } from './set.ts';

/** How a decision came about: for `GET /v1/sets/route`. */
export interface Explanation {
  /** Version of the route table. */
  readonly version: number;
  /** Bucket of the key. */
  readonly bucket?: number;
  /** What each rule of the topic said, in order. */
  readonly steps: readonly RuleStep[];
  /** Every SET that may take the message, in the order of trying. */
  readonly candidates: readonly ExplainedCandidate[];
  /** Every other SET, and why it may not. */
  readonly excluded: readonly { readonly set: string; readonly why: string }[];
}

export interface RuleStep {
  readonly rule: RouteRule;
  readonly set?: string;
  readonly says: string;
}

export interface ExplainedCandidate {
  readonly set: string;
  readonly kind: SetDefinition['kind'];
  readonly reason: RouteReason;
  readonly distanceKm?: number;
  readonly health: SetHealth;
  readonly breaker: 'closed' | 'open';
  /** 1: as much as it can take; absent: nobody knows. */
  readonly load?: number;
  /** The chance of a message that nothing binds to a SET to pass this one over; absent: none does. */
  readonly passedOver?: number;
}

/**
 * The same decision with all candidates and the word of every rule. Draws are random here too, so among equals the
 * order may differ from one call to the next, as it does between two messages.
 * @throws the Problems of `route`
 */
export function explain(
  request: RouteRequest,
  table: RouteTable,
  usable: (setId: string) => boolean,
  options: RouteOptions = {},
): Explanation {
  const candidates = route(request, table, usable, { limit: table.sets.length, ...options });
  const named = new Set(candidates.map((candidate) => candidate.set.id));
  return {
    version: table.version,
    ...(request.key === undefined ? {} : { bucket: bucketOf(request.key) }),
    steps: request.topic.rules.map((rule) => explainRule(rule, request, table, candidates)),
    candidates: candidates.map(({ set, reason, distanceKm }) => {
      const position = table.positions.get(set.id) ?? -1;
      const [load, passedOver = 0] = [table.loads[position], table.passing?.[position]];
      return {
        set: set.id,
        kind: set.kind,
        reason,
        ...(distanceKm === undefined ? {} : { distanceKm }),
        health: table.health[position] ?? 'unknown',
        breaker: usable(set.id) ? 'closed' : 'open',
        ...(load === undefined ? {} : { load }),
        ...(passedOver === 0 ? {} : { passedOver }),
      };
    }),
    excluded: table.sets
      .filter((set) => !named.has(set.id))
      .map((set) => ({ set: set.id, why: whyExcluded(set, request) })),
  };
}
function explainRule(
  rule: RouteRule,
  request: RouteRequest,
  table: RouteTable,
  candidates: readonly Candidate[],
): RuleStep {
  const set = candidates.find((candidate) => candidate.reason === rule)?.set.id;
  if (set !== undefined) return { rule, set, says: verdictOn(set, request, { table, candidates }) };
  return { rule, ...silenceOf(rule, request, table) };
}

/** That the rule decides, and what the load of its SET makes of it. */
function verdictOn(
  set: string,
  request: RouteRequest,
  { table, candidates }: { readonly table: RouteTable; readonly candidates: readonly Candidate[] },
): string {
  const position = table.positions.get(set) ?? -1;
  const chance = isFree(request) ? (table.passing?.[position] ?? 0) : 0;
  if (chance === 0) return 'decides';
  const [load, share] = [table.loads[position], table.sets[position]?.share];
  const whys = [
    ...(load === undefined ? [] : [`its load is ${load.toFixed(2)}`]),
    ...(share === undefined ? [] : [`it is let in slowly (share ${share})`]),
  ];
  const why = `${whys.join(' and ')}, so ${Math.round(chance * 100)} % of such messages pass it over`;
  const isPassedOver = candidates[0]?.reason === 'spill';
  return isPassedOver ? `names this SET, but ${why}, as this one does` : `decides; ${why}`;
}

/** What a rule that did not decide has to say. */
function silenceOf(
  rule: RouteRule,
  request: RouteRequest,
  table: RouteTable,
): { set?: string; says: string } {
  const { topic, key, choice, place } = request;
  const named = (set: string | undefined, nothing: string) =>
    set === undefined
      ? { says: nothing }
      : { set, says: 'names this SET, but another rule came first or the SET takes nothing new' };
  switch (rule) {
    case 'explicit':
      return named(choice?.set, 'the publisher named no SET');
    case 'pin':
      return named(
        key === undefined ? undefined : findPin(table, topic.name, key),
        key === undefined ? 'the message has no key' : 'the key is not pinned',
      );
    case 'key':
      return named(
        key === undefined ? undefined : findRange(table, key)?.set,
        key === undefined ? 'the message has no key' : 'no SET has the bucket of this key',
      );
    case 'nearest':
      return { says: place ? 'another rule came first' : 'the place is unknown' };
    case 'center':
      return {
        says:
          table.openCenters.positions.length > 0 ? 'another rule came first' : 'no center takes new traffic',
      };
  }
}

function whyExcluded(set: SetDefinition, request: RouteRequest): string {
  if (request.choice?.fallback === 'only') return `the publisher wants only "${request.choice.set}"`;
  if (set.status !== 'active') return `it is ${set.status}`;
  if (!isInScope(set, request.topic)) return 'the topic never leaves the center';
  return 'its weight is 0: only an explicit choice goes there';
}
