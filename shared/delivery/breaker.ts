/**
 * The breaker of one subscription on one host: a webhook that fails again and again is left alone for a while.
 *
 *   closed ──failures in a row──▶ open ──wait over──▶ probing ──success──▶ closed
 *                                   ▲                    │
 *                                   └──────failure───────┘   the wait doubles, up to its maximum
 *
 * While it is open no call begins; while it probes, one. A failure is no answer, or a 5xx: a 404 or a 429 comes from a
 * receiver that lives. What was under way when it opened may still close it, and does not open it further.
 */
import type { Clock } from '../clock.ts';
import type { BreakerRules } from '../subscriptions/delivery-policy.ts';
import type { Answer } from './courier.ts';

export type BreakerState = 'closed' | 'open' | 'probing';

export interface DeliveryBreaker {
  readonly state: BreakerState;
  /** Milliseconds until a call may begin; 0: now; Infinity: not before the probe under way has ended. */
  waitMs(): number;
  began(): void;
  /** @param answer undefined when nothing is known: the courier itself failed */
  ended(answer: Answer | undefined): void;
}

export interface BreakerParts {
  readonly clock: Clock;
  readonly random: () => number;
  /** Asked anew each time, because a subscription may change. */
  readonly rules: () => BreakerRules;
}

/** The first wait: a restart is over by then, or it is none. */
const firstWaitMs = 1_000;

export function createDeliveryBreaker({ clock, random, rules }: BreakerParts): DeliveryBreaker {
  let state: BreakerState = 'closed';
  let failures = 0;
  let opened = 0;
  let untilMs = 0;
  let isProbeUnderWay = false;

  const open = (): void => {
    const boundMs = Math.min(rules().maxWaitMs, firstWaitMs * 2 ** opened++);
    // Hosts that opened together come back apart.
    untilMs = clock.nowMs() + boundMs * (1 + 0.2 * random());
    state = 'open';
  };

  const close = (): void => {
    state = 'closed';
    failures = 0;
    opened = 0;
  };

  const waitMs = (): number => {
    if (state === 'closed') return 0;
    const leftMs = untilMs - clock.nowMs();
    if (state === 'open' && leftMs > 0) return leftMs;
    if (state === 'open') {
      state = 'probing';
      isProbeUnderWay = false;
    }
    return isProbeUnderWay ? Infinity : 0;
  };

  return {
    get state() {
      waitMs();
      return state;
    },
    waitMs,
    began() {
      if (state === 'probing') isProbeUnderWay = true;
    },
    ended(answer) {
      const health = healthOf(answer);
      if (health === 'failed') failures++;
      if (health === 'well') close();
      else if (health === 'unknown') isProbeUnderWay = false;
      else if (state === 'probing' && isProbeUnderWay) open();
      else if (state === 'closed' && rules().failures > 0 && failures >= rules().failures) open();
    },
  };
}

function healthOf(answer: Answer | undefined): 'well' | 'failed' | 'unknown' {
  if (!answer) return 'unknown';
  if (answer.verdict === 'done') return 'well';
  return answer.status === null || answer.status >= 500 ? 'failed' : 'well';
}
