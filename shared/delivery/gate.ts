/** When the next call of a subscription may begin on this host: its breaker, and its rate. */
import type { Clock } from '../clock.ts';
import type { DeliveryPolicy, RateLimit } from '../subscriptions/delivery-policy.ts';
import { createDeliveryBreaker, type BreakerState } from './breaker.ts';
import type { Answer } from './courier.ts';
import { createRateWindow, shareOf } from './rate-window.ts';

export interface Gate {
  /** Milliseconds until a call may begin; 0: now; Infinity: when one under way has ended. */
  waitMs(): number;
  began(): void;
  /** @param answer undefined when nothing is known of the call */
  ended(answer: Answer | undefined): void;
  readonly breaker: BreakerState;
}

export interface GateParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly policy: () => Pick<DeliveryPolicy, 'breaker' | 'rate'> | undefined;
  /** Live hosts of this SET, this one included; undefined before that is known. */
  readonly hosts: () => number | undefined;
  readonly onBreaker: (state: BreakerState) => void;
}

const defaultBreaker = { failures: 10, maxWaitMs: 60_000 } as const;
/** A host that does not know who else lives thinks that somebody does. */
const unknownHosts = 2;

export function createGate(parts: GateParts): Gate {
  const { clock, random } = parts;
  const rules = () => parts.policy()?.breaker ?? defaultBreaker;
  const breaker = createDeliveryBreaker({ clock, random, rules });
  const window = createRateWindow(clock);
  const share = (): RateLimit | undefined => {
    const rate = parts.policy()?.rate;
    return rate && shareOf(rate, parts.hosts() ?? unknownHosts);
  };
  let shown: BreakerState = 'closed';
  const show = (): void => {
    if (breaker.state !== shown) parts.onBreaker((shown = breaker.state));
  };
  return {
    get breaker() {
      return breaker.state;
    },
    waitMs() {
      const rate = share();
      const waitMs = breaker.waitMs();
      show();
      return Math.max(waitMs, rate ? window.waitMs(rate) : 0);
    },
    began() {
      const rate = share();
      if (rate) window.began(rate);
      breaker.began();
    },
    ended(answer) {
      breaker.ended(answer);
      show();
    },
  };
}
