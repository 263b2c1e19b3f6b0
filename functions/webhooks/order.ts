/** The body of the demo topic `orders`. */
import { z } from 'zod';
import { NonRetryable, type WebhookMessage } from '../../shared/consumer/consumer.ts';

const orderSchema = z.object({
  orderId: z.string().min(1),
  sku: z.string().min(1),
  quantity: z.int().positive(),
  city: z.string(),
});

export type Order = Readonly<z.infer<typeof orderSchema>>;

/** @throws NonRetryable naming the fields that are wrong: the same bytes will not get better */
export function orderOf(message: WebhookMessage): Order {
  const parsed = orderSchema.safeParse(message.json());
  if (parsed.success) return parsed.data;
  throw new NonRetryable(`This is not an order.\n${z.prettifyError(parsed.error)}`);
}
