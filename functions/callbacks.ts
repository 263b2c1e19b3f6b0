/** Callback URLs of what is published: refused at the door if they must not be called. */
import type { Draft } from '../shared/message/message.ts';
import type { Callback } from '../shared/message/callback.ts';
import { calledUrls } from '../shared/subscriptions/called-urls.ts';
import type { WebhookUrlPolicy } from '../shared/webhook/address.ts';
import { refuseBadUrls } from './refuse-urls.ts';

/** @throws Problem `destination-refused` with the place */
export function refuseBadCallbacks(
  drafts: readonly Pick<Draft, 'callback'>[],
  policy: WebhookUrlPolicy,
): void {
  for (const { callback } of drafts) refuseBadCallback(callback, policy);
}

/** @throws Problem `destination-refused` with the place */
export function refuseBadCallback(callback: Callback | undefined, policy: WebhookUrlPolicy): void {
  refuseBadUrls(calledUrls({ callback }), policy);
}
