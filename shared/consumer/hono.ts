/** The webhook as a Hono handler: a thin shell, so that secrets and guard can come from the request's environment. */
import type { Context, Env, Handler } from 'hono';
import { webhookHandler, type WebhookHandler, type WebhookOptions } from './consumer.ts';

/**
 * @param options the same as for `webhookHandler`, or a function of the context (Cloudflare's bindings live there)
 * @example
 * app.post('/receipt', webhook((c) => ({ secrets: [c.env.SECRET], subscription: 'receipt', guard: guardOf(c.env) }), handle));
 */
export function webhook<E extends Env>(
  options: WebhookOptions | ((context: Context<E>) => WebhookOptions),
  handle: WebhookHandler,
): Handler<E> {
  if (typeof options !== 'function') {
    const answer = webhookHandler(options, handle);
    return (context) => answer(context.req.raw);
  }
  return (context) => webhookHandler(options(context), handle)(context.req.raw);
}
