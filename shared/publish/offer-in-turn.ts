/**
 * Offers messages to one SET after the other, within a deadline, under the same ids: a SET that does not answer in time
 * may have stored them all the same, so the next one takes them as the same messages and the guard sees each once.
 */
import type { Clock } from '../clock.ts';
import { withinMs } from '../deadline.ts';
import type { Message } from '../message/message.ts';
import type { MessageState } from '../message/lifecycle.ts';
import { asProblem, fromProblemData, Problem } from '../problem.ts';
import type { Breaker } from '../sets/breaker.ts';
import type { RouteTable } from '../sets/route-table.ts';
import type { Candidate } from '../sets/route.ts';
import type { Offer, Receipt, SetLink } from '../sets/set-link.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Published, PublishedState } from './publisher.ts';

export interface OfferParts {
  readonly link: (set: string) => SetLink;
  readonly breaker: Breaker;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Longest wait for one SET. */
  readonly acceptTimeoutMs: number;
  /** Longest time for all of them. */
  readonly acceptDeadlineMs: number;
}

/** An offer that no SET is chosen for yet, with the SETs to try, in order. */
export interface Unplaced extends Omit<Offer, 'message'> {
  readonly message: Omit<Message, 'placement'>;
  readonly candidates: readonly Candidate[];
  /** Of a lane: where a newer table has its home. Throws while it has none. */
  readonly rehome?: (table: RouteTable) => Candidate;
}

/** Offers whose candidates are the same SETs in the same order: one call per SET carries them all. */
export interface Offering {
  readonly offers: readonly Unplaced[];
  /** See `AcceptOptions`. */
  readonly waitMs: number;
}

/**
 * @returns one result per offer, in order; a Problem for one that a SET refused while it took others
 * @throws Problem `set-unavailable` when no candidate took them; what a SET says against the request itself
 */
export async function offerInTurn(
  parts: OfferParts,
  { offers, waitMs }: Offering,
): Promise<readonly (Published | Problem)[]> {
  const { breaker, clock, link, telemetry } = parts;
  const deadlineMs = clock.nowMs() + parts.acceptDeadlineMs;
  const sets = offers[0]?.candidates.map(({ set }) => set.id) ?? [];
  let last: unknown;
  for (const [turn, set] of sets.entries()) {
    const leftMs = deadlineMs - clock.nowMs();
    if (leftMs <= 0) break;
    const placed = offers.map((offer) => placedIn(offer, turn));
    try {
      breaker.began(set);
      const timeoutMs = Math.min(parts.acceptTimeoutMs, leftMs) + waitMs;
      const receipts = await withinMs(clock, timeoutMs, link(set).accept(placed, { waitMs }));
      breaker.succeeded(set);
      return receipts.map((receipt, index) => resultOf(parts, placed[index], receipt));
    } catch (error) {
      const problem = asProblem(error);
      if (!problem.retryable) throw problem;
      if (problem.kind === 'misrouted') {
        breaker.succeeded(set);
        throw problem;
      }
      // A statement that a database refuses, or a sibling that keeps no copy, says nothing about whether the SET is there.
      if (problem.kind === 'internal' || problem.kind === 'copy-unavailable') breaker.succeeded(set);
      else breaker.failed(set);
      telemetry.count('setway_failover_total', { set, problem: problem.kind });
      last = problem;
    }
  }
  throw noneLeft(last);
}

function placedIn({ candidates, message, rehome: _edge, ...rest }: Unplaced, turn: number): Offer {
  const candidate = candidates[turn];
  const placement = {
    set: candidate?.set.id ?? '',
    reason: turn === 0 ? (candidate?.reason ?? '') : 'failover',
    ...(candidate?.distanceKm === undefined ? {} : { distanceKm: candidate.distanceKm }),
  };
  return { ...rest, message: { ...message, placement } };
}

function resultOf(parts: OfferParts, offer: Offer | undefined, receipt: Receipt): Published | Problem {
  if (receipt.refusal) return fromProblemData(receipt.refusal);
  if (receipt.mismatch === true) return keyReused();
  if (!offer) return new Problem('internal', 'The SET answered for more messages than it was offered.');
  const { set, reason, distanceKm } = offer.message.placement;
  parts.telemetry.count('setway_published_total', { set, mode: offer.message.mode, reason });
  return {
    id: receipt.id,
    state: answerStates[receipt.state],
    set,
    route: { reason, ...(distanceKm === undefined ? {} : { distanceKm: Math.round(distanceKm) }) },
    duplicate: receipt.duplicate,
  };
}

const answerStates: Readonly<Record<MessageState | 'SENT', PublishedState>> = {
  HALF: 'prepared',
  ROLLED_BACK: 'rolled_back',
  CHECK_EXHAUSTED: 'check_exhausted',
  SCHEDULED: 'scheduled',
  CANCELLED: 'cancelled',
  READY: 'stored',
  CONFIRMED: 'confirmed',
  UNROUTABLE: 'unroutable',
  FAILED: 'failed',
  SENT: 'sent',
};

export function keyReused(): Problem {
  return new Problem(
    'key-reused',
    'This Idempotency-Key was used with another request. Use a new key for a new request.',
  );
}

export function noneLeft(cause?: unknown): Problem {
  return new Problem('set-unavailable', 'No SET can take the message now. Retry the same request.', {
    retryAfterSeconds: 2,
    ...(cause === undefined ? {} : { cause }),
  });
}
