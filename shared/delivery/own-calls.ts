/** Webhook calls while a message is this SET's for certain: what was not, when its slot was free, asks and waits again. */
import type { Clock } from '../clock.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Caller } from './caller.ts';
import type { Grips } from './grip.ts';
import type { Deferred, Wish } from './lane.ts';

export interface OwnCallParts {
  readonly clock: Clock;
  readonly grip: Grips['take'];
}

/**
 * `gone`: it is with another SET now.
 * @throws Problem `set-fenced`, `database-unavailable`
 */
export type OwnCall = (
  message: Message,
  subscription: Subscription,
  attempt: number,
  wish: Wish,
) => Promise<DeliveryOutcome | Deferred | 'gone' | undefined>;

export function ownCalls({ clock, grip: take }: OwnCallParts, caller: Pick<Caller, 'call'>): OwnCall {
  return async (message, subscription, attempt, wish) => {
    const untilMs = clock.nowMs() + (wish.patienceMs ?? 0);
    for (;;) {
      const taken = take(message.id);
      const grip = taken instanceof Promise ? await taken : taken;
      if (grip === 'gone') return grip;
      let isHeld = true;
      const isWanted = (): boolean => (wish.isWanted?.() ?? true) && (isHeld = grip());
      const patienceMs = Math.max(0, untilMs - clock.nowMs());
      const outcome = await caller.call(message, subscription, attempt, { ...wish, isWanted, patienceMs });
      if (outcome || isHeld) return outcome;
    }
  };
}
