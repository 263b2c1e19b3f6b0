/**
 * Keeps a reservation while the handler runs: asks for more at every third of the lease, so one lost renewal is made up
 * for by the next. When the lease is lost, or runs out unrenewed, or the handler exceeds its limit, the signal fires: by
 * then another delivery may run the handler, and this one should stop.
 */
import type { Clock } from '../clock.ts';
import type { Guard } from '../idempotency/guard.ts';
import { Problem } from '../problem.ts';

export interface Hold {
  readonly key: string;
  readonly token: string;
  readonly leaseMs: number;
  /** When the reservation was asked for; its lease began no earlier. */
  readonly sinceMs: number;
  /** A handler that hangs must not hold its message for ever. */
  readonly maxRunMs: number;
}

export interface Lease {
  /** Fires when somebody else may have the key. */
  readonly signal: AbortSignal;
  /** Ends the renewals; neither completes nor releases. */
  stop(): void;
}

/** @example const lease = keepLease({ guard, clock: systemClock }, { key, token, leaseMs: 30_000, sinceMs, maxRunMs }); */
export function keepLease({ guard, clock }: { guard: Guard; clock: Clock }, hold: Hold): Lease {
  const { key, token, leaseMs, sinceMs, maxRunMs } = hold;
  const lost = new AbortController();
  let cancelRenewal = (): void => undefined;
  let cancelExpiry = (): void => undefined;
  const stop = () => {
    cancelRenewal();
    cancelExpiry();
    isStopped = true;
  };
  let isStopped = false;
  const lose = () => {
    stop();
    lost.abort(new Problem('in-flight', 'The lease is lost; another delivery may run this handler now.'));
  };
  const heldSince = (ms: number) => {
    cancelExpiry();
    cancelExpiry = clock.after(Math.max(0, ms + leaseMs - clock.nowMs()), lose);
  };
  const renew = async () => {
    const askedMs = clock.nowMs();
    if (askedMs - sinceMs >= maxRunMs) return lose();
    // A guard that cannot be asked says nothing about the lease: the next third asks again, the expiry timer decides.
    const isHeld = await guard.renew(key, token, leaseMs).catch(() => undefined);
    if (isStopped) return;
    if (isHeld === false) return lose();
    if (isHeld) heldSince(askedMs);
    schedule();
  };
  const schedule = () => {
    cancelRenewal = clock.after(leaseMs / 3, () => void renew());
  };
  heldSince(sinceMs);
  schedule();
  return { signal: lost.signal, stop };
}
