/**
 * What a sequence does next: pure.
 *
 *   GATHERING ──all there──▶ delivered in order
 *       └─deadline─▶ (what is missing is sent again) ASKED ──all there──▶ delivered in order
 *                                                      └─grace over─▶ the gap is decided by `onGap`:
 *     skip    RELEASED  what is missing is SKIPPED, the rest is delivered in order
 *     abort   ABORTED   what is before the gap is delivered, all behind it is SKIPPED
 *     block   BLOCKED   what is before the gap is delivered; it waits until the gap is filled
 *
 * An item that is dead is a gap of the same kind, and under `skip` passed over by the same decision.
 */
import { deliveryTransitions, type DeliveryState } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type { Assembly, StreamItem, StreamView } from '../store/ordered-store.ts';

export interface Callable extends StreamItem {
  readonly message: Message;
}

export type NextTurn =
  /** Nothing to do before so long. */
  | { readonly does: 'rest'; readonly forMs: number }
  /** The deadline has passed: send again what is missing. */
  | { readonly does: 'ask' }
  /** The grace has passed with an item missing, or one is dead: `onGap` decides. `at` is the first such item. */
  | { readonly does: 'gap'; readonly at: number; readonly why: 'missing' | 'dead' }
  /** All up to here is decided. */
  | { readonly does: 'pass'; readonly through: number }
  /** One item, or all that are open when they travel together. */
  | { readonly does: 'call'; readonly items: readonly Callable[] };

/** A blocked sequence looks this often whether somebody has settled its dead item. */
const blockedMs = 60_000;

export function nextTurn(view: StreamView, assembly: Assembly, ordered: 'one-by-one' | 'together'): NextTurn {
  const { state, size, arrived, cursor, leftMs } = assembly;
  const isComplete = arrived >= size;
  if (!isComplete && (state === 'GATHERING' || state === 'ASKED')) {
    if (leftMs > 0) return { does: 'rest', forMs: leftMs };
    return state === 'GATHERING'
      ? { does: 'ask' }
      : { does: 'gap', at: firstMissing(view, cursor), why: 'missing' };
  }
  const isBlocked = state === 'BLOCKED' && !isComplete;
  return ordered === 'together' ? allAtOnce(view, assembly, isBlocked) : headFirst(view, assembly, isBlocked);
}

function firstMissing({ items }: StreamView, cursor: number): number {
  const gap = items.findIndex(({ position }, index) => position !== cursor + 1 + index);
  return cursor + 1 + (gap === -1 ? items.length : gap);
}

function headFirst({ items }: StreamView, assembly: Assembly, isBlocked: boolean): NextTurn {
  const { state, size, cursor, onGap } = assembly;
  const [head] = items;
  if (head?.position !== cursor + 1) {
    // What is missing was given up when the gap was decided.
    return isBlocked
      ? { does: 'rest', forMs: blockedMs }
      : { does: 'pass', through: (head?.position ?? size + 1) - 1 };
  }
  if (head.state === 'DEAD') {
    if (state === 'ABORTED') return { does: 'pass', through: head.position };
    return onGap === 'block' && state === 'BLOCKED'
      ? { does: 'rest', forMs: blockedMs }
      : { does: 'gap', at: head.position, why: 'dead' };
  }
  const [open] = openOf([head]);
  return open ? { does: 'call', items: [open] } : { does: 'pass', through: head.position };
}

function allAtOnce({ items }: StreamView, { size }: Assembly, isBlocked: boolean): NextTurn {
  if (isBlocked) return { does: 'rest', forMs: blockedMs };
  const open = openOf(items);
  return open.length > 0 ? { does: 'call', items: open } : { does: 'pass', through: size };
}

function openOf(items: readonly StreamItem[]): readonly Callable[] {
  return items.flatMap((item) =>
    item.message && isOpen(item.state) ? [{ ...item, message: item.message }] : [],
  );
}

function isOpen(state: DeliveryState | undefined): boolean {
  return state === undefined || deliveryTransitions[state].length > 0;
}
