/** What becomes of a try whose outcome nobody told before its lease ended, or of one that its holder calls failed. */
import type { MessageId } from '../identifier.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import { waitAfterMs } from '../subscriptions/delivery-policy.ts';
import { withCallback } from './ended.ts';
import type { Subscription } from '../subscriptions/subscription.ts';

/** The next try by the schedule, or the end when it is over. */
export function leaseEnded(
  message: Message,
  subscription: Subscription,
  attempt: number,
  set: string,
): DeliveryOutcome {
  const error = 'The lease ended without an answer.';
  const called = { messageId: message.id, subscription: subscription.name, attempt };
  const outcome = {
    ...called,
    status: null,
    error,
    durationMs: 0,
    ...afterFailure(message, subscription, attempt),
  };
  return withCallback(outcome, { message, subscription, set }, null);
}

export function afterFailure(
  message: Pick<Message, 'retries'>,
  subscription: Subscription,
  attempt: number,
): { readonly state: 'RETRY' | 'DEAD' | 'SKIPPED'; readonly retryAfterMs: number } {
  const delayMs = waitAfterMs(subscription, message, attempt, Math.random);
  if (delayMs !== undefined) return { state: 'RETRY', retryAfterMs: delayMs };
  return { state: subscription.atEnd === 'drop' ? 'SKIPPED' : 'DEAD', retryAfterMs: 0 };
}

/** It waits to be pulled; nobody has tried it. */
export function offered(messageId: MessageId, subscription: string): DeliveryOutcome {
  const shared = { messageId, subscription, attempt: 0, status: null, error: null };
  return { ...shared, state: 'RETRY', durationMs: null, retryAfterMs: 0 };
}
