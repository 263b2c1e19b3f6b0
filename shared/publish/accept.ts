/**
 * The edge's side of a publish: reserve the idempotency key, route, offer the message to one SET after the other.
 *
 * The id is minted once and survives failover: a SET that does not answer in time may have stored the message all the
 * same, so the next one takes it under the same id and the guard sees one message.
 *
 * With an idempotency key the id follows from the key and the request (`idOfKey`), so a retry is the same message
 * whoever remembers its first attempt, even nobody. The ledger could not carry that alone: it may answer the first
 * attempt and be away for the retry, or the other way round, and two attempts that were remembered in different places
 * would be two messages. What the ledger and the databases add is the first answer, 409 and 422.
 */
import { createHash } from 'node:crypto';
import type { CatalogSource } from '../catalog/catalog.ts';
import type { Clock } from '../clock.ts';
import type { LedgerEntry, PublishClaim, PublishLedger } from '../idempotency/publish-ledger.ts';
import { mintMessageId, type MessageId } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { Draft, Message } from '../message/message.ts';
import { asProblem, Problem } from '../problem.ts';
import type { Breaker } from '../sets/breaker.ts';
import { bucketOf } from '../sets/bucket.ts';
import type { RouteTable } from '../sets/route-table.ts';
import { route, type Candidate, type RouteRequest } from '../sets/route.ts';
import type { Offer, Receipt, SetLink } from '../sets/set-link.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import type { PublishContext, Published, PublishedState, Publisher } from './publisher.ts';

export interface AcceptParts {
  readonly catalog: CatalogSource;
  readonly link: (set: string) => SetLink;
  readonly breaker: Breaker;
  readonly ledger: PublishLedger;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Longest wait for one SET. */
  readonly acceptTimeoutMs: number;
  /** Longest time for all of them. */
  readonly acceptDeadlineMs: number;
  readonly idempotencyTtlMs: number;
}

/** A request whose edge died is taken up again after this long. Longer than the accept deadline. */
const claimLeaseMs = 10_000;
/** A publish takes milliseconds: whoever asks again after the whole lease has waited in vain. */
const inFlightRetrySeconds = 1;

export function createPublisher(parts: AcceptParts): Publisher {
  return {
    async publish(draft, context) {
      const { table, topics } = await parts.catalog.current();
      const topic = topicOf(topics, draft.topic, context.owner);
      const asked = { topic, draft, context };
      const candidates = candidatesOf(parts, table, asked);
      if (!context.idempotency)
        return offerInTurn(parts, candidates, draftOffer(parts, mintFor(parts, draft, candidates), asked));
      const claimed = claimOf(context.owner, context.idempotency);
      const id = idOfKey(parts, table, { asked, claimed });
      return publishOnce(parts, {
        unoffered: { ...draftOffer(parts, id, asked), idempotency: claimed },
        candidates,
      });
    },
  };
}

function topicOf(topics: ReadonlyMap<string, Topic>, name: string, owner: string): Topic {
  const topic = topics.get(name);
  if (topic?.owner !== owner) throw new Problem('not-found', `There is no topic "${name}".`);
  return topic;
}

interface Asked {
  readonly topic: Topic;
  readonly draft: Draft;
  readonly context: PublishContext;
}

function candidatesOf(parts: AcceptParts, table: RouteTable, asked: Asked): readonly Candidate[] {
  const candidates = route(routeRequest(asked), table, (set) => parts.breaker.usable(set));
  if (candidates.length === 0) throw noneLeft();
  return candidates;
}

function routeRequest({ topic, draft, context }: Asked): RouteRequest {
  return {
    topic,
    ...(draft.key === undefined ? {} : { key: draft.key }),
    ...(draft.route === undefined ? {} : { choice: draft.route }),
    ...(context.place === undefined ? {} : { place: context.place }),
  };
}

function noneLeft(cause?: unknown): Problem {
  return new Problem('set-unavailable', 'No SET can take the message now. Retry the same request.', {
    retryAfterSeconds: 2,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The message under a given id, not yet placed. */
type Unplaced = Omit<Message, 'placement'>;
type Claimed = { readonly keyHash: string; readonly fingerprint: string };

interface Unoffered {
  readonly message: Unplaced;
  readonly waitMs: number;
  readonly idempotency?: Claimed;
}

function draftOffer(
  parts: AcceptParts,
  id: MessageId,
  { draft, context }: Pick<Asked, 'draft' | 'context'>,
): Unoffered {
  const { route: _route, ...content } = draft;
  const trace = context.traceparent === undefined ? {} : { traceparent: context.traceparent };
  const message = { ...content, ...trace, id, owner: context.owner, acceptedAtMs: parts.clock.nowMs() };
  return { message, waitMs: context.waitMs };
}

/** Messages of one key share a shard; the others are spread. */
function mintFor(parts: AcceptParts, draft: Draft, candidates: readonly Candidate[]): MessageId {
  const first = candidates[0]?.set;
  const spread = draft.key === undefined ? Math.floor(Math.random() * 64) : bucketOf(draft.key) % 64;
  return mintMessageId({ setNumber: first?.number ?? 0, shard: spread }, parts.clock.nowMs());
}

const dayMs = 86_400_000;

/**
 * The id of a request with an idempotency key: the same for the same request at every edge, for a UTC day. Its time
 * within that day and its random part are the digest of key and request, 82 bits of it: 56 alone would let ten million keyed
 * messages a day meet by chance once in four years. Its SET is the one meant when all SETs are well, because health and
 * breakers change between two attempts. Attempts on both sides of midnight still meet in the ledger.
 */
function idOfKey(parts: AcceptParts, table: RouteTable, { asked, claimed }: KeyedRequest): MessageId {
  const healthy = { ...table, health: table.health.map(() => 'unknown' as const) };
  const [meant] = route(routeRequest(asked), healthy, () => true, { random: () => 0, limit: 1 });
  const digest = createHash('sha256').update(`${claimed.keyHash}\n${claimed.fingerprint}`).digest();
  const shard = (asked.draft.key === undefined ? (digest[0] ?? 0) : bucketOf(asked.draft.key)) % 64;
  const dayBeganMs = Math.floor(parts.clock.nowMs() / dayMs) * dayMs;
  const timeMs = dayBeganMs + (digest.readUInt32BE(8) % dayMs);
  return mintMessageId({ setNumber: meant?.set.number ?? 0, shard }, timeMs, digest.subarray(1, 8));
}

/** Offers to one candidate after the other, within the deadline, under the same id. */
async function offerInTurn(
  parts: AcceptParts,
  candidates: readonly Candidate[],
  unoffered: Unoffered,
): Promise<Published> {
  const deadlineMs = parts.clock.nowMs() + parts.acceptDeadlineMs;
  let last: unknown;
  for (const [index, candidate] of candidates.entries()) {
    const leftMs = deadlineMs - parts.clock.nowMs();
    if (leftMs <= 0) break;
    const offer = placed(unoffered, candidate, index);
    try {
      parts.breaker.began(candidate.set.id);
      const timeoutMs = Math.min(parts.acceptTimeoutMs, leftMs) + unoffered.waitMs;
      const [receipt] = await within(
        parts.clock,
        timeoutMs,
        parts.link(candidate.set.id).accept([offer], unoffered),
      );
      parts.breaker.succeeded(candidate.set.id);
      if (receipt) return publishedOf(parts, offer, receipt);
    } catch (error) {
      const problem = asProblem(error);
      if (!problem.retryable) throw problem;
      // A statement that a database refuses says nothing about whether the SET is there.
      if (problem.kind === 'internal') parts.breaker.succeeded(candidate.set.id);
      else parts.breaker.failed(candidate.set.id);
      parts.telemetry.count('setway_failover_total', { set: candidate.set.id, problem: problem.kind });
      last = problem;
    }
  }
  throw noneLeft(last);
}

function placed({ message, idempotency }: Unoffered, candidate: Candidate, index: number): Offer {
  const placement = {
    set: candidate.set.id,
    reason: index === 0 ? candidate.reason : 'failover',
    ...(candidate.distanceKm === undefined ? {} : { distanceKm: candidate.distanceKm }),
  };
  return { message: { ...message, placement }, ...(idempotency === undefined ? {} : { idempotency }) };
}

async function within<T>(clock: Clock, timeoutMs: number, work: Promise<T>): Promise<T> {
  let cancel = (): void => undefined;
  const timeout = new Promise<never>((_, reject) => {
    // The SET may have taken it all the same: the next one gets it under the same id.
    const late = () =>
      reject(new Problem('set-unavailable', `The SET did not answer within ${timeoutMs} ms.`));
    cancel = clock.after(timeoutMs, late);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    cancel();
  }
}

function publishedOf(parts: AcceptParts, { message }: Offer, receipt: Receipt): Published {
  if (receipt.mismatch === true) throw keyReused();
  const { set, reason, distanceKm } = message.placement;
  parts.telemetry.count('setway_published_total', { set, mode: message.mode, reason });
  return {
    id: receipt.id,
    state: answerStates[receipt.state],
    set,
    route: { reason, ...(distanceKm === undefined ? {} : { distanceKm: Math.round(distanceKm) }) },
    duplicate: receipt.duplicate,
  };
}

const answerStates: Readonly<Record<MessageState | 'SENT', PublishedState>> = {
  READY: 'stored',
  CONFIRMED: 'confirmed',
  UNROUTABLE: 'unroutable',
  FAILED: 'failed',
  SENT: 'sent',
};

function keyReused(): Problem {
  return new Problem(
    'key-reused',
    'This Idempotency-Key was used with another request. Use a new key for a new request.',
  );
}

interface KeyedRequest {
  readonly asked: Asked;
  readonly claimed: Claimed;
}

interface Once {
  readonly unoffered: Unoffered & { readonly idempotency: Claimed };
  readonly candidates: readonly Candidate[];
}

function claimOf(owner: string, { key, fingerprint }: NonNullable<PublishContext['idempotency']>): Claimed {
  return { keyHash: createHash('sha256').update(`${owner}\n${key}`).digest('hex'), fingerprint };
}

/** A publish under an idempotency key: the shared ledger first, the SET's database as its second half. */
async function publishOnce(parts: AcceptParts, { unoffered, candidates }: Once): Promise<Published> {
  const { message, idempotency } = unoffered;
  const { keyHash, fingerprint } = idempotency;
  const set = candidates[0]?.set.id ?? '';
  const claim: PublishClaim = { id: message.id, set, fingerprint, holder: crypto.randomUUID() };
  const entry = await reserve(parts, keyHash, claim);
  if (entry === 'ledger-away') return offerInTurn(parts, byKey(candidates, keyHash), unoffered);
  const known = knownAnswer(entry);
  if (known) return known;
  const first = entry.outcome === 'resumed' ? entry : claim;
  const offered = { ...unoffered, message: { ...message, id: first.id } };
  const held = { ...claim, id: first.id, set: first.set };
  const published = await offerInTurn(parts, startingAt(candidates, first.set), offered).catch(
    async (error: unknown) => {
      // Losing this is safe as well: the lease ends by itself a little later.
      await parts.ledger.release(keyHash, held).catch(() => undefined);
      throw error;
    },
  );
  const kept = { answer: JSON.stringify(published), ttlMs: parts.idempotencyTtlMs };
  // Losing the note is safe: the next request with this key resumes under the same id and meets the stored row.
  await parts.ledger.finish(keyHash, held, kept).catch(() => undefined);
  return published;
}

async function reserve(
  parts: AcceptParts,
  keyHash: string,
  claim: PublishClaim,
): Promise<LedgerEntry | 'ledger-away'> {
  try {
    return await parts.ledger.reserve(keyHash, claim, claimLeaseMs);
  } catch (error) {
    if (asProblem(error).kind === 'redis-unavailable') return 'ledger-away';
    throw error;
  }
}

/** The first answer, when the key has one already; a refusal when it is used otherwise. */
function knownAnswer(entry: LedgerEntry): Published | undefined {
  switch (entry.outcome) {
    case 'answered':
      return { ...(JSON.parse(entry.answer) as Published), duplicate: true };
    case 'mismatch':
      throw keyReused();
    case 'in-flight':
      throw new Problem(
        'in-flight',
        'A request with this Idempotency-Key is being handled. Ask again a little later.',
        {
          retryAfterSeconds: inFlightRetrySeconds,
        },
      );
    case 'reserved':
    case 'resumed':
      return undefined;
  }
}

/** The SET a resumed request was offered to first comes first again: it may hold the message. */
function startingAt(candidates: readonly Candidate[], set: string): readonly Candidate[] {
  return candidates.toSorted((a, b) => Number(b.set.id === set) - Number(a.set.id === set));
}

/** With the ledger away, the hash of the key chooses the SET whose database decides, so a retry meets its first attempt. */
function byKey(candidates: readonly Candidate[], keyHash: string): readonly Candidate[] {
  const numbered = candidates.toSorted((a, b) => a.set.number - b.set.number);
  const start = Number.parseInt(keyHash.slice(0, 8), 16) % numbered.length;
  return [...numbered.slice(start), ...numbered.slice(0, start)];
}
