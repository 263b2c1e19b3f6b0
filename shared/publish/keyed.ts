/**
 * Publishing under an idempotency key: the shared ledger first, the SET's database as its second half.
 *
 * The id follows from the key and the request (`keyedId`), so a retry is the same message whoever remembers its first
 * attempt, even nobody. The ledger could not carry that alone: it may answer the first attempt and be away for the
 * retry, or the other way round, and two attempts that were remembered in different places would be two messages. What
 * the ledger and the databases add is the first answer, 409 and 422.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { LedgerEntry, PublishClaim, PublishLedger } from '../idempotency/publish-ledger.ts';
import { mintedAtMs, mintMessageId, type MessageId, type Origin } from '../identifier.ts';
import { asProblem, Problem } from '../problem.ts';
import type { Candidate } from '../sets/route.ts';
import { keyReused } from './offer-in-turn.ts';
import type { PublishContext, Published } from './publisher.ts';

export interface KeyedParts {
  readonly ledger: PublishLedger;
  readonly clock: Clock;
  readonly idempotencyTtlMs: number;
}

/** What the SET's database keeps of the key. */
export interface Claimed {
  readonly keyHash: string;
  readonly fingerprint: string;
}

/** A request whose edge died is taken up again after this long. Longer than the accept deadline. */
const claimLeaseMs = 10_000;
/** A publish takes milliseconds: whoever asks again after the whole lease has waited in vain. */
const inFlightRetrySeconds = 1;

export function claimOf(
  owner: string,
  { key, fingerprint }: NonNullable<PublishContext['idempotency']>,
): Claimed {
  return { keyHash: createHash('sha256').update(`${owner}\n${key}`).digest('hex'), fingerprint };
}

/** The claim of one message of a request: the key itself for the first, one derived from it for the others. */
export function itemClaim({ keyHash, fingerprint }: Claimed, position: number): Claimed {
  if (position === 0) return { keyHash, fingerprint };
  return { keyHash: createHash('sha256').update(`${keyHash}\n${position}`).digest('hex'), fingerprint };
}

const dayMs = 86_400_000;

/**
 * The id of a request with an idempotency key: the same for the same request at every edge, for a UTC day. Its time
 * within that day and its random part are the digest of key and request, 82 bits of it: 56 alone would let ten million
 * keyed messages a day meet by chance once in four years. Attempts on both sides of midnight still meet in the ledger.
 */
export function keyedId({ keyHash, fingerprint }: Claimed, origin: Origin, nowMs: number): MessageId {
  const digest = createHash('sha256').update(`${keyHash}\n${fingerprint}`).digest();
  const timeMs = Math.floor(nowMs / dayMs) * dayMs + (digest.readUInt32BE(8) % dayMs);
  return mintMessageId(origin, timeMs, digest.subarray(1, 8));
}

/** The id of a further message of the same request: follows from the first one's. */
export function siblingOf(first: MessageId, position: number, origin: Origin): MessageId {
  const digest = createHash('sha256').update(`${first}\n${position}`).digest();
  return mintMessageId(origin, mintedAtMs(first), digest.subarray(0, 7));
}

interface Claim {
  readonly claimed: Claimed;
  readonly id: MessageId;
  readonly candidates: readonly Candidate[];
}

/** How to offer: under which first id, and which SETs first. */
interface Attempt {
  readonly id: MessageId;
  readonly inTurn: (candidates: readonly Candidate[]) => readonly Candidate[];
}

type Results = readonly (Published | Problem)[];

/**
 * @returns the first answer if the key has one, else what `attempt` brings; it is kept only when every message was taken
 * @throws Problem `in-flight`, `key-reused`
 */
export async function publishOnce(
  parts: KeyedParts,
  { claimed, id, candidates }: Claim,
  attempt: (how: Attempt) => Promise<Results>,
): Promise<Results> {
  const { keyHash, fingerprint } = claimed;
  const set = candidates[0]?.set.id ?? '';
  const claim: PublishClaim = { id, set, fingerprint, holder: crypto.randomUUID() };
  const entry = await reserve(parts, keyHash, claim);
  if (entry === 'ledger-away') return attempt({ id, inTurn: (given) => byKey(given, keyHash) });
  const known = knownAnswer(entry);
  if (known) return known;
  const first = entry.outcome === 'resumed' ? entry : claim;
  const results = await attempt({ id: first.id, inTurn: (given) => startingAt(given, first.set) });
  await remember(parts, { keyHash, claim: { ...claim, id: first.id, set: first.set }, results });
  return results;
}

interface Outcome {
  readonly keyHash: string;
  readonly claim: PublishClaim;
  readonly results: Results;
}

/** Losing this is safe: the next request with this key resumes under the same id and meets the stored rows. */
async function remember(parts: KeyedParts, { keyHash, claim, results }: Outcome): Promise<void> {
  const kept = { answer: JSON.stringify(results), ttlMs: parts.idempotencyTtlMs };
  const noting = results.some((result) => result instanceof Problem)
    ? parts.ledger.release(keyHash, claim)
    : parts.ledger.finish(keyHash, claim, kept);
  await noting.catch(() => undefined);
}

async function reserve(
  parts: KeyedParts,
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
function knownAnswer(entry: LedgerEntry): Results | undefined {
  switch (entry.outcome) {
    case 'answered':
      return (JSON.parse(entry.answer) as readonly Published[]).map((first) => ({
        ...first,
        duplicate: true,
      }));
    case 'mismatch':
      throw keyReused();
    case 'in-flight':
      throw new Problem(
        'in-flight',
        'A request with this Idempotency-Key is being handled. Ask again a little later.',
        { retryAfterSeconds: inFlightRetrySeconds },
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
