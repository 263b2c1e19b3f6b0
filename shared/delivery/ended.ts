/** Which callback, if any, an outcome owes: it is recorded together with the outcome, so that no crash comes between. */
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { DeliveryPolicy } from '../subscriptions/delivery-policy.ts';

type Told = Pick<DeliveryPolicy, 'callback'>;

/** Whether somebody is told how a delivery ends. What a message says goes before its subscription. */
export function isToldOf({ callback }: Pick<Message, 'callback'>, subscription: Told): boolean {
  return (callback ?? subscription.callback) !== undefined;
}

/** @param answer the start of the body that the webhook answered */
export function withCallback(
  outcome: DeliveryOutcome,
  about: { readonly message: Pick<Message, 'callback'>; readonly subscription: Told; readonly set: string },
  answer: string | null,
): DeliveryOutcome {
  const { message, set, subscription } = about;
  const which = outcome.state === 'DONE' ? 'success' : 'failure';
  const hasEnded = outcome.state === 'DONE' || outcome.state === 'DEAD' || outcome.state === 'SKIPPED';
  const url = message.callback?.[which] ?? subscription.callback?.[which];
  return hasEnded && url !== undefined ? { ...outcome, callback: { set, url, answer } } : outcome;
}
