/** One call of the head of a stream, and what comes of it. Lanes and sequences share it. */
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import { leaseEnded, offered } from '../delivery/lease-ended.ts';
import type { LoadLease, StreamItem, StreamView } from '../store/ordered-store.ts';
import type { Desk, OrderParts } from './desk.ts';

/** What a worker goes on with: the next item, or nothing because its hold on the stream has ended. */
export type After = 'next' | 'ended';

/** A stream at work, and until when it is certainly ours. */
export interface Run {
  readonly lease: LoadLease;
  readonly heldUntilMs: number;
}

/** How long a stream waits for a subscription that is paused, disabled or unknown now. */
export const pausedRetryMs = 60_000;

/** Nothing was tried yet: the subscription's filter is still to be asked. */
export function isAtItsBeginning({ state }: StreamItem): boolean {
  return state === undefined || state === 'BLOCKED';
}

/** The head of a stream as it was loaded. */
export interface Head {
  readonly item: StreamItem;
  /** What is called: the item, or all of them together. */
  readonly message: Message;
  readonly view: StreamView;
}

/**
 * Calls the head, or says what became of one that its consumer held until now.
 * @returns `ended` when the stream was given back without a call
 */
export async function callHead(
  parts: OrderParts,
  desk: Desk,
  { lease, heldUntilMs }: Run,
  { item, message, view }: Head,
): Promise<DeliveryOutcome | 'ended'> {
  const subscription = parts.subscription(lease.subscription);
  if (subscription?.status !== 'active') return giveBack(desk, lease, pausedRetryMs);
  if (item.heldMs !== undefined && item.heldMs > 0) {
    await desk.store.rest(lease, view, item.heldMs);
    return 'ended';
  }
  if (item.state === 'LEASED') return leaseEnded(message, subscription, item.attempts, parts.set);
  if (subscription.kind === 'pull') return offer(desk, lease, { item, message, view });
  // A call that outlasts the lease would be made beside the next holder's.
  const isWanted = (): boolean =>
    !desk.isStopping() && parts.clock.nowMs() + subscription.timeoutMs <= heldUntilMs;
  const outcome = isWanted()
    ? await parts.call(message, subscription, item.attempts + 1, isWanted)
    : undefined;
  if (!outcome) return giveBack(desk, lease, 0);
  return 'deferMs' in outcome ? giveBack(desk, lease, outcome.deferMs) : outcome;
}

/** What waits to be pulled is the puller's to find; done, failed and the end of its lease wake the stream. */
const unpulledMs = 600_000;

/** Lets a puller find it. */
async function offer(desk: Desk, lease: LoadLease, { item, message, view }: Head): Promise<'ended'> {
  const outcome = offered(message.id, lease.subscription);
  if (isAtItsBeginning(item)) await desk.step([{ lease, position: item.position, outcome }]);
  await desk.store.rest(lease, view, unpulledMs);
  return 'ended';
}

async function giveBack(desk: Desk, lease: LoadLease, afterMs: number): Promise<'ended'> {
  await desk.store.release([lease], afterMs);
  return 'ended';
}
