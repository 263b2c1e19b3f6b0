/**
 * The edge's side of a publish: route, mint ids, reserve the idempotency key, offer.
 *
 * One draft, many drafts, and drafts that belong together go the same way: each becomes an offer; offers that mean the
 * same SETs in the same order share one call; what belongs together means the same SETs. With an idempotency key the
 * ids follow from the key and the request (`keyed.ts`), so a retry is the same messages whoever remembers its first
 * attempt, even nobody.
 */
import type { CatalogSource } from '../catalog/catalog.ts';
import { mintMessageId, originOf, transactionOf, type MessageId, type Origin } from '../identifier.ts';
import type { Draft } from '../message/message.ts';
import { asProblem, Problem } from '../problem.ts';
import { bucketOf } from '../sets/bucket.ts';
import type { RouteTable } from '../sets/route-table.ts';
import { route, type Candidate, type RouteRequest } from '../sets/route.ts';
import { whenAllAreWell } from '../sets/well-table.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import {
  claimOf,
  itemClaim,
  keyedId,
  publishOnce,
  siblingOf,
  type Claimed,
  type KeyedParts,
} from './keyed.ts';
import { laneHome } from './lane-home.ts';
import { homeOf, offerAtHome } from './at-home.ts';
import { noneLeft, type OfferParts, type Unplaced } from './offer-in-turn.ts';
import type { Bond, PublishContext, Published, Publisher } from './publisher.ts';

export interface AcceptParts extends OfferParts, KeyedParts {
  readonly catalog: CatalogSource;
}

type Result = Published | Problem;

/** Drafts of one request, each with the SETs it may go to, or with what speaks against it. */
interface Asked {
  readonly table: RouteTable;
  readonly context: PublishContext;
  readonly routed: readonly (Routed | Problem)[];
  /** `together`: one unit, in one database. */
  readonly bond?: Bond;
}

interface Routed {
  readonly draft: Draft;
  readonly topic: Topic;
  readonly candidates: readonly Candidate[];
  /** Of a lane. */
  readonly rehome?: (table: RouteTable) => Candidate;
  readonly home?: Unplaced['home'];
}

export function createPublisher(parts: AcceptParts): Publisher {
  return {
    async publish(draft, context) {
      const [published] = await accept(parts, await ask(parts, [draft], context));
      if (published === undefined || published instanceof Problem) throw published ?? noneLeft();
      return published;
    },
    async publishMany(drafts, context) {
      return accept(parts, await ask(parts, drafts, context));
    },
    async publishTogether(drafts, context, bond) {
      const asked = together(await ask(parts, drafts, context));
      const results = await accept(parts, { ...asked, bond });
      return results.map(orThrow);
    },
  };
}

async function ask(parts: AcceptParts, drafts: readonly Draft[], context: PublishContext): Promise<Asked> {
  const { table, topics } = await parts.catalog.current();
  const find = drafts.length === 1 ? candidatesOf : onceForAlike(candidatesOf);
  const routed = drafts.map((draft) => {
    try {
      const topic = topicOf(topics, draft.topic, context.owner);
      const wish = { draft, topic, context };
      const candidates = find(parts, table, wish);
      return { draft, topic, candidates, ...rehomeOf(wish), ...homeOf(candidates[0]) };
    } catch (error) {
      return asProblem(error);
    }
  });
  return { table, context, routed };
}

function topicOf(topics: ReadonlyMap<string, Topic>, name: string, owner: string): Topic {
  const topic = topics.get(name);
  if (topic?.owner !== owner) throw new Problem('not-found', `There is no topic "${name}".`);
  return topic;
}

interface Wish extends Pick<Routed, 'draft' | 'topic'> {
  readonly context: PublishContext;
}

function candidatesOf(parts: AcceptParts, table: RouteTable, wish: Wish): readonly Candidate[] {
  const { rehome } = rehomeOf(wish);
  if (rehome) return [rehome(table)];
  const candidates = route(requestOf(wish), table, (set) => parts.breaker.usable(set));
  if (candidates.length === 0) throw noneLeft();
  return candidates;
}

function rehomeOf(wish: Wish): Pick<Routed, 'rehome'> {
  const { order } = wish.draft;
  if (order?.kind !== 'lane') return {};
  return { rehome: (table) => laneHome(table, requestOf(wish), order.lane) };
}

/**
 * Drafts of one request that mean the same are routed once: it costs less, and where weights or a tie leave a choice they
 * stay together in one commit.
 */
function onceForAlike(find: typeof candidatesOf): typeof candidatesOf {
  const known = new Map<string, readonly Candidate[]>();
  return (parts, table, wish) => {
    const { topic, key, route: choice, order } = wish.draft;
    if (order?.kind === 'lane') return find(parts, table, wish);
    const alike = JSON.stringify([topic, key, choice]);
    const candidates = known.get(alike) ?? find(parts, table, wish);
    known.set(alike, candidates);
    return candidates;
  };
}

function requestOf({ topic, draft, context }: Wish): RouteRequest {
  return {
    topic,
    // What has an order stays where it is expected.
    ...(draft.order === undefined ? {} : { balance: 'stays' }),
    ...(draft.key === undefined ? {} : { key: draft.key }),
    ...(draft.route === undefined ? {} : { choice: draft.route }),
    ...(context.place === undefined ? {} : { place: context.place }),
  };
}

/** All go where the first goes, except to SETs that one of them may not go to. */
function together(asked: Asked): Asked {
  const routed = asked.routed.map(orThrow);
  const shared = (routed[0]?.candidates ?? []).filter(({ set }) =>
    routed.every(({ candidates }) => candidates.some((candidate) => candidate.set.id === set.id)),
  );
  if (shared.length === 0) throw noneLeft();
  return { ...asked, routed: routed.map((each) => ({ ...each, candidates: shared })) };
}

function orThrow<T>(result: T | Problem): T {
  if (result instanceof Problem) throw result;
  return result;
}

/** Offers everything that could be routed; the results stand where the drafts stood. */
async function accept(parts: AcceptParts, asked: Asked): Promise<readonly Result[]> {
  const { idempotency, owner } = asked.context;
  const first = asked.routed.find((each): each is Routed => !(each instanceof Problem));
  if (!first) return asked.routed as readonly Problem[];
  const nowMs = parts.clock.nowMs();
  const asRouted = (candidates: readonly Candidate[]): readonly Candidate[] => candidates;
  if (!idempotency)
    return offerAll(parts, asked, { first: mintMessageId(originFor(first), nowMs), inTurn: asRouted });
  const claimed = claimOf(owner, idempotency);
  const id = keyedId(claimed, originFor(meantWhenWell(asked, first), claimed), nowMs);
  const claim = { claimed, id, candidates: first.candidates };
  const isSpread = asked.routed.length > 1 && asked.bond === undefined;
  return publishOnce(parts, claim, ({ id: firstId, inTurn }) =>
    offerAll(parts, asked, { first: firstId, inTurn: isSpread ? asRouted : inTurn, claimed }),
  );
}

/** With the SET that is meant when all are well: health and breakers change between two attempts. */
function meantWhenWell({ table, context }: Asked, routed: Routed): Routed {
  if (routed.draft.order?.kind === 'lane') return routed;
  const always = { random: () => 0, limit: 1 };
  const well = whenAllAreWell(table);
  return { ...routed, candidates: route(requestOf({ ...routed, context }), well, () => true, always) };
}

/** Messages of one lane, session or key share a shard; the others are spread. */
function originFor({ draft, candidates }: Routed, claimed?: Claimed): Origin {
  const { key, order } = draft;
  const kept = order === undefined ? key : order.kind === 'lane' ? order.lane : order.session;
  const spread = kept === undefined ? undefined : bucketOf(kept);
  const scattered = claimed
    ? Number.parseInt(claimed.keyHash.slice(0, 2), 16)
    : Math.floor(Math.random() * 64);
  return { setNumber: candidates[0]?.set.number ?? 0, shard: (spread ?? scattered) % 64 };
}

interface Ids {
  readonly first: MessageId;
  /** The SETs in the order to try them. */
  readonly inTurn: (candidates: readonly Candidate[]) => readonly Candidate[];
  readonly claimed?: Claimed;
}

interface Placed {
  /** Where its draft stood in the request. */
  readonly index: number;
  readonly offer: Unplaced;
}

async function offerAll(parts: AcceptParts, asked: Asked, ids: Ids): Promise<readonly Result[]> {
  const results: (Result | undefined)[] = asked.routed.map((each) =>
    each instanceof Problem ? each : undefined,
  );
  let position = 0;
  const placed = asked.routed.flatMap((routed, index): readonly Placed[] =>
    routed instanceof Problem
      ? []
      : [{ index, offer: offerOf(parts, asked, { routed, ids, position: position++ }) }],
  );
  const groups = Map.groupBy(placed, ({ offer }) => offer.candidates.map(({ set }) => set.id).join(' '));
  const offerGroup = async (group: readonly Placed[]): Promise<void> => {
    const offering = { offers: group.map(({ offer }) => offer), waitMs: asked.context.waitMs };
    const taken = await offerAtHome(parts, offering);
    group.forEach(({ index }, nth) => {
      results[index] = taken[nth];
    });
  };
  await Promise.all([...groups.values()].map(offerGroup));
  // Made only where one is missing: a Problem takes the stack, which costs as much as the rest of the publish.
  const complete = results.map((result) => result ?? noneLeft());
  return asked.bond === undefined ? complete : asFirstStored(complete, ids.first);
}

/**
 * A unit whose key its SET knows under another first id, such as one of the UTC day before when the ledger has forgotten
 * it: the others follow from that one.
 */
function asFirstStored(results: readonly Result[], offered: MessageId): readonly Result[] {
  const [first] = results;
  if (first === undefined || first instanceof Problem || first.id === offered) return results;
  const origin = originOf(first.id);
  return results.map((result, position) =>
    position === 0 || result instanceof Problem
      ? result
      : { ...result, id: siblingOf(first.id, position, origin) },
  );
}

interface Positioned {
  readonly routed: Routed;
  readonly ids: Ids;
  /** Among the drafts that could be routed. */
  readonly position: number;
}

function offerOf(parts: AcceptParts, asked: Asked, positioned: Positioned): Unplaced {
  const { context, bond } = asked;
  const { routed, ids, position } = positioned;
  const { route: _route, due, ...content } = routed.draft;
  const { first, claimed } = ids;
  const trace = context.traceparent === undefined ? {} : { traceparent: context.traceparent };
  // A unit is stored whole or not at all: its first message speaks for it.
  const speaks = claimed !== undefined && (bond === undefined || position === 0);
  return {
    message: {
      ...content,
      ...trace,
      id: idAt(parts, asked, positioned),
      owner: context.owner,
      acceptedAtMs: parts.clock.nowMs(),
    },
    candidates: ids.inTurn(routed.candidates),
    ...(routed.rehome === undefined ? {} : { rehome: routed.rehome, home: routed.home }),
    ...(due === undefined ? {} : { due }),
    ...(speaks ? { idempotency: itemClaim(claimed, position) } : {}),
    ...(routed.topic.durability === 'mirrored' ? { durability: 'mirrored' } : {}),
    ...(bond === undefined ? {} : { unit: first }),
    ...(bond?.transaction === undefined
      ? {}
      : { transaction: { ...bond.transaction, id: transactionOf(first) } }),
  };
}

function idAt(parts: AcceptParts, asked: Asked, { routed, ids, position }: Positioned): MessageId {
  const { first, claimed } = ids;
  if (position === 0) return first;
  if (asked.bond !== undefined) return siblingOf(first, position, originOf(first));
  if (claimed === undefined) return mintMessageId(originFor(routed), parts.clock.nowMs());
  return siblingOf(first, position, originFor(meantWhenWell(asked, routed), claimed));
}
