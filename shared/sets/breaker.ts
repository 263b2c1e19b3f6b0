/**
 * A breaker per SET, in the memory of one edge: stops asking a SET that keeps failing, and finds out when it is back.
 *
 *     closed ──failures in a row, all within the window──▶ open ──delay over──▶ half-open
 *       ▲                                                   ▲                      │
 *       └────────────── a success ──────────────────────────┼──────────────────────┤
 *                                                           └───── a failure ──────┘  (the next delay is twice as long)
 *
 * - A success ends the row: a busy SET that loses one request in a hundred must not look dead because many requests
 *   pass per second.
 * - Half-open lets one request through: `began` closes the gate behind it until its outcome is known, or until
 *   `probeMs` have passed without one (its edge was stopped).
 * - Outcomes of requests that began earlier may arrive while open. A success closes it, since the SET evidently works;
 *   a failure tells nothing new and does not lengthen the delay.
 */
import { backoffMs, type Backoff } from '../backoff.ts';

export interface BreakerSettings {
  /** Failures in a row that open it. */
  readonly failures: number;
  /** The failures count only if they all happened within this time, in milliseconds. */
  readonly windowMs: number;
  /** How long it stays open: the first time, and at most. */
  readonly openMs: Backoff;
  /** How long one probe may take before another is let through, in milliseconds. */
  readonly probeMs: number;
}

/**
 * Three failures leave a SET well within the ten seconds a failover may take even when each is a timeout of 2 s;
 * a probe after at most half a minute finds it again.
 */
export const defaultBreakerSettings: BreakerSettings = {
  failures: 3,
  windowMs: 10_000,
  openMs: { baseMs: 1_000, maxMs: 30_000 },
  probeMs: 5_000,
};

export interface BreakerDependencies {
  readonly clock: { nowMs(): number };
  /** Returns [0, 1): spreads the probes of many edges. */
  readonly random: () => number;
}

export interface Breaker {
  /** Whether a request may go there now. Asking changes nothing. */
  usable(set: string): boolean;
  /** A request goes there now: in half-open it is the probe. */
  began(set: string): void;
  succeeded(set: string): void;
  failed(set: string): void;
}

type State =
  /** When the latest failures in a row happened, oldest first, in Unix milliseconds. */
  | { readonly is: 'closed'; readonly failedAtMs: readonly number[] }
  /** Half-open from `untilMs` on; `opening` counts openings in a row; a probe under way shuts the gate until `probeUntilMs`. */
  | {
      readonly is: 'open';
      readonly untilMs: number;
      readonly opening: number;
      readonly probeUntilMs: number;
    };

/** @example const breaker = createBreaker({ clock: systemClock, random: Math.random }) */
export function createBreaker(
  dependencies: BreakerDependencies,
  settings: BreakerSettings = defaultBreakerSettings,
): Breaker {
  const { clock, random } = dependencies;
  /** SETs without an entry are closed and have not failed. */
  const states = new Map<string, State>();

  function open(set: string, opening: number): void {
    const untilMs = clock.nowMs() + backoffMs(settings.openMs, opening, random);
    states.set(set, { is: 'open', untilMs, opening, probeUntilMs: 0 });
  }

  return {
    usable(set) {
      const state = states.get(set);
      if (!state || state.is === 'closed') return true;
      const nowMs = clock.nowMs();
      return nowMs >= state.untilMs && nowMs >= state.probeUntilMs;
    },
    began(set) {
      const state = states.get(set);
      const nowMs = clock.nowMs();
      if (state?.is !== 'open' || nowMs < state.untilMs) return;
      states.set(set, { ...state, probeUntilMs: nowMs + settings.probeMs });
    },
    succeeded(set) {
      states.delete(set);
    },
    failed(set) {
      const state = states.get(set) ?? { is: 'closed', failedAtMs: [] };
      const nowMs = clock.nowMs();
      if (state.is === 'open') {
        if (nowMs >= state.untilMs) open(set, state.opening + 1);
        return;
      }
      const failedAtMs = [...state.failedAtMs.filter((atMs) => nowMs - atMs < settings.windowMs), nowMs];
      if (failedAtMs.length >= settings.failures) open(set, 1);
      else states.set(set, { is: 'closed', failedAtMs });
    },
  };
}
