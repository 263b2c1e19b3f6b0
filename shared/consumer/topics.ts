/**
 * Handlers per topic, each with the schema of its payload: what does not fit is answered 422 and never tried again,
 * because the next try would bring the same bytes.
 */
import type { WebhookContext, WebhookHandler, WebhookResult } from './webhook-handler.ts';
import { NonRetryable } from './non-retryable.ts';
import type { SchemaIssue, StandardSchema } from './standard-schema.ts';
import type { WebhookMessage } from './webhook-message.ts';

/** A message whose JSON fits its schema. */
export type TypedHandler<Payload> = (
  payload: Payload,
  message: WebhookMessage,
  context: WebhookContext,
) => Promise<WebhookResult>;

/**
 * @param schema of the payload, which is JSON; any library with the Standard Schema interface
 * @example topics({ orders: typed(z.object({ orderId: z.string() }), async ({ orderId }) => ship(orderId)) })
 */
export function typed<Payload>(
  schema: StandardSchema<Payload>,
  handle: TypedHandler<Payload>,
): WebhookHandler {
  return async (message, context) => {
    const validated = await schema['~standard'].validate(message.json());
    if (validated.issues) throw new NonRetryable(`The payload does not fit. ${told(validated.issues)}`);
    return handle(validated.value, message, context);
  };
}

/**
 * One webhook for several topics.
 * @param handlers by topic
 * @param otherwise for any other topic; without it such a message is answered 422 and not tried again
 */
export function topics(
  handlers: Readonly<Record<string, WebhookHandler>>,
  otherwise?: WebhookHandler,
): WebhookHandler {
  const known = new Map(Object.entries(handlers));
  return async (message, context) => {
    const handle = known.get(message.topic) ?? otherwise;
    if (!handle) throw new NonRetryable(`Nothing here handles the topic "${message.topic.slice(0, 128)}".`);
    return handle(message, context);
  };
}

/** Enough to find the fault; a payload may break every rule of a long schema. */
const maxIssues = 5;

function told(issues: readonly SchemaIssue[]): string {
  return issues
    .slice(0, maxIssues)
    .map(({ path = [], message }) => {
      const at = path.map((part) => `/${String(typeof part === 'object' ? part.key : part)}`).join('');
      return `${at || '/'}: ${message}`;
    })
    .join('; ');
}
