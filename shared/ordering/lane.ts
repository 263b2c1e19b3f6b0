/**
 * One worker of one lane, from the claim to the close: loads what follows the cursor, passes over what the subscription
 * does not hear or has settled already, calls the rest in order.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import { deliveryTransitions } from '../message/lifecycle.ts';
import type { LaneLease, StreamItem, StreamView } from '../store/ordered-store.ts';
import { hearsTag } from '../subscriptions/filter.ts';
import type { Subscription, Topic } from '../subscriptions/subscription.ts';
import type { Desk, OrderParts } from './desk.ts';
import { readStream } from './stream-name.ts';

/** A claimed stream, and until when it is certainly ours. */
export interface HeldStream {
  readonly entry: DueEntry;
  readonly heldUntilMs: number;
}

/** How long a stream waits for a subscription that is paused, disabled or unknown now. */
const pausedRetryMs = 60_000;

/** What an item came to: the cursor stands behind it, or the worker is at its end. */
type After = 'next' | 'ended';

interface LaneRun {
  readonly lease: LaneLease;
  readonly topic: Topic;
  readonly heldUntilMs: number;
}

export async function runLane(
  parts: OrderParts,
  desk: Desk,
  { entry, heldUntilMs }: HeldStream,
): Promise<void> {
  const lease = leaseOf(parts, entry);
  const topic = lease && parts.topic(lease.topic);
  // Unknown may mean that this host's catalog is older than the subscription.
  if (!lease || !topic) return desk.store.release([entry], pausedRetryMs);
  const run = { lease, topic, heldUntilMs };
  for (;;) {
    const view = await desk.load(lease);
    if (!view || (await workOff(parts, desk, run, view)) === 'ended') return undefined;
  }
}

function leaseOf(parts: OrderParts, { entry, token, subscription, stream }: DueEntry): LaneLease | undefined {
  const known = parts.subscription(subscription ?? '');
  if (!known || subscription === null || stream === null) return undefined;
  const { topic, of } = readStream(stream);
  return { entry, token, subscription, stream, owner: known.owner, topic, lane: of };
}

/** Delivers what was loaded; `next` when there is more to load. */
async function workOff(parts: OrderParts, desk: Desk, run: LaneRun, view: StreamView): Promise<After> {
  const { lease } = run;
  const due = view.items.filter((item) => isDeliverable(parts, run, item));
  const last = due.at(-1);
  // Nothing after the last one is for this subscription: the cursor may pass it together with that one.
  const endAt = view.items.at(-1)?.position ?? 0;
  const closing = view.more === 'none' ? { closeAt: view.signals } : {};
  if (!last) {
    const stepped = await desk.step({ lease, position: endAt, ...closing });
    return stepped === 'held' ? 'next' : 'ended';
  }
  for (const item of due) {
    const step = item === last ? { position: endAt, ...closing } : { position: item.position };
    if ((await deliver(parts, desk, run, { item, step })) === 'ended') return 'ended';
  }
  return 'next';
}

function isDeliverable(parts: OrderParts, { lease, topic }: LaneRun, item: StreamItem): boolean {
  const { message, state } = item;
  const subscription = parts.subscription(lease.subscription);
  if (!message || (state !== undefined && deliveryTransitions[state].length === 0)) return false;
  return subscription !== undefined && hearsTag(topic.type, subscription.bindings, message.tag ?? '');
}

interface Turn {
  readonly item: StreamItem;
  readonly step: { readonly position: number; readonly closeAt?: number };
}

async function deliver(parts: OrderParts, desk: Desk, run: LaneRun, { item, step }: Turn): Promise<After> {
  const { lease, heldUntilMs } = run;
  const subscription: Subscription | undefined = parts.subscription(lease.subscription);
  if (subscription?.status !== 'active' || !item.message) return giveBack(desk, lease, pausedRetryMs);
  // A call that outlasts the lease would be made beside the next holder's.
  const isWanted = (): boolean =>
    !desk.isStopping() && parts.clock.nowMs() + subscription.timeoutMs <= heldUntilMs;
  const outcome = isWanted()
    ? await parts.call(item.message, subscription, item.attempts + 1, isWanted)
    : undefined;
  if (!outcome) return giveBack(desk, lease, 0);
  const isRetry = outcome.state === 'RETRY';
  const stepped = await desk.step(
    isRetry ? { lease, position: item.position, outcome } : { lease, ...step, outcome },
  );
  if (isRetry) parts.onDue(outcome.retryAfterMs);
  return isRetry || stepped !== 'held' ? 'ended' : 'next';
}

async function giveBack(desk: Desk, lease: LaneLease, afterMs: number): Promise<After> {
  await desk.store.release([lease], afterMs);
  return 'ended';
}
