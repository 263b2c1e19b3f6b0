/** Callback URLs of what is published: refused at the door if they must not be called. */
import type { Draft } from '../shared/message/message.ts';
import { asProblem, Problem } from '../shared/problem.ts';
import type { Callback } from '../shared/message/callback.ts';
import { checkWebhookUrl, type WebhookUrlPolicy } from '../shared/webhook/address.ts';

/** @throws Problem `destination-refused` with the place */
export function refuseBadCallbacks(
  drafts: readonly Pick<Draft, 'callback'>[],
  policy: WebhookUrlPolicy,
): void {
  for (const { callback } of drafts) refuseBadCallback(callback, policy);
}

/** @throws Problem `destination-refused` with the place */
export function refuseBadCallback(callback: Callback | undefined, policy: WebhookUrlPolicy): void {
  for (const which of ['success', 'failure'] as const) {
    const url = callback?.[which];
    if (url === undefined) continue;
    try {
      checkWebhookUrl(url, policy);
    } catch (error) {
      const { message } = asProblem(error);
      const at = `/callback/${which}`;
      const faults = [{ at, detail: message }];
      throw new Problem('destination-refused', `${at}: ${message}`, { faults, cause: error });
    }
  }
}
