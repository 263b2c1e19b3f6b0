/**
 * One worker of one lane, from the claim to the close: loads what follows the cursor, passes over what the subscription
 * does not hear or has settled already, calls the rest in order.
 */
import { deliveryTransitions } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type { StreamItem, StreamView } from '../store/ordered-store.ts';
import { hearsTag } from '../subscriptions/filter.ts';
import type { Desk, OrderParts } from './desk.ts';
import { callHead, isAtItsBeginning, type After, type Run } from './turn.ts';

/** Delivers what was loaded; `next` when there is more to load. */
export async function workOffLane(parts: OrderParts, desk: Desk, run: Run, view: StreamView): Promise<After> {
  const { lease } = run;
  const due = view.items.flatMap((item) => deliverable(parts, desk, run, item));
  const last = due.at(-1);
  // Nothing after the last one is for this subscription: the cursor may pass it together with that one.
  const endAt = view.items.at(-1)?.position ?? 0;
  const closing = view.more === 'none' ? { closeAt: view.signals } : {};
  if (!last) {
    const stepped = await desk.step([{ lease, position: endAt, ...closing }]);
    return stepped === 'held' ? 'next' : 'ended';
  }
  for (const item of due) {
    const step = item === last ? { position: endAt, ...closing } : { position: item.position };
    if ((await deliver(parts, desk, run, { item, step, view })) === 'ended') return 'ended';
  }
  return 'next';
}

interface Deliverable extends StreamItem {
  readonly message: Message;
}

function deliverable(
  parts: OrderParts,
  { hears }: Desk,
  { lease }: Run,
  item: StreamItem,
): readonly Deliverable[] {
  const { message, state } = item;
  const subscription = parts.subscription(lease.subscription);
  const topic = parts.topic(lease.topic);
  if (!message || (state !== undefined && deliveryTransitions[state].length === 0)) return [];
  if (!subscription || !topic || !hearsTag(topic.type, subscription.bindings, message.tag ?? '')) return [];
  if (isAtItsBeginning(item) && !hears(subscription, message)) return [];
  return [{ ...item, message }];
}

interface LaneTurn {
  readonly item: Deliverable;
  readonly step: { readonly position: number; readonly closeAt?: number };
  readonly view: StreamView;
}

async function deliver(
  parts: OrderParts,
  desk: Desk,
  run: Run,
  { item, step, view }: LaneTurn,
): Promise<After> {
  const { lease } = run;
  const outcome = await callHead(parts, desk, run, { item, message: item.message, view });
  if (outcome === 'ended') return 'ended';
  const isOpen = deliveryTransitions[outcome.state].length > 0;
  const stepped = await desk.step([
    isOpen ? { lease, position: item.position, outcome } : { lease, ...step, outcome },
  ]);
  if (isOpen) parts.onDue(outcome.retryAfterMs);
  return isOpen || stepped !== 'held' ? 'ended' : 'next';
}
