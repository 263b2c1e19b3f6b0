/** The shift: what a host that was not started consumes within a budget. */
import type { Clock } from '../clock.ts';
import type { Deliverer } from '../delivery/deliver.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Consumptions } from './consumptions.ts';
import type { Budget, DueWork } from './due-work.ts';
import { until } from './until.ts';

export interface ShiftParts {
  readonly clock: Clock;
  readonly consumptions: Consumptions;
  readonly deliverer: Pick<Deliverer, 'load'>;
  readonly due: Pick<DueWork, 'handle'>;
  readonly active: () => readonly Subscription[];
  readonly ready: (maxMs: number) => Promise<void>;
  /** Time for webhook calls under way at the end. */
  readonly stopGraceMs: number;
}

/** Consumes until the budget is spent or nothing comes any more, then stops cleanly. Returns how many messages. */
export async function runShift(parts: ShiftParts, budget: Budget): Promise<number> {
  const { clock, consumptions, deliverer, due } = parts;
  const endMs = clock.nowMs() + budget.maxMs;
  await parts.ready(budget.maxMs);
  const from = consumptions.taken;
  await consumptions.reconcile(parts.active());
  const isDry = dryness(clock, () => (deliverer.load > 0 ? 'busy' : consumptions.taken));
  await until(clock, budget.maxMs, () => consumptions.taken - from >= budget.maxItems || isDry());
  await consumptions.stop(parts.stopGraceMs);
  // Ordered messages were only noted for their turn: it may be now.
  const leftMs = endMs - clock.nowMs();
  if (leftMs > 0) await due.handle('order', { ...budget, maxMs: leftMs });
  return consumptions.taken - from;
}

/** A shift that found nothing for so long ends: the queues are empty. */
const dryMs = 2_000;

/** @returns whether `work` has been the same, and not busy, for a while */
function dryness(clock: Clock, work: () => number | 'busy'): () => boolean {
  let seen = work();
  let sinceMs = clock.nowMs();
  return () => {
    const now = work();
    if (now === 'busy' || now !== seen) sinceMs = clock.nowMs();
    seen = now;
    return clock.nowMs() - sinceMs > dryMs;
  };
}
