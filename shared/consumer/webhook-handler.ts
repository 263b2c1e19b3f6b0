/** What a user's handler gets and gives. */
import type { Later } from './later.ts';
import type { WebhookMessage } from './webhook-message.ts';

export interface WebhookContext {
  /** Fires when the lease is lost: another delivery may run this handler by now, so stop. */
  readonly signal: AbortSignal;
}

/** What a handler may return; nothing means `done`. The words are those of `once`. */
export type WebhookResult = void | 'done' | 'duplicate' | 'mismatch' | Later;

export type WebhookHandler = (message: WebhookMessage, context: WebhookContext) => Promise<WebhookResult>;
