/**
 * What a handler throws when no retry can help: a body it cannot read, an order that does not exist. The delivery becomes
 * a dead letter at once instead of after the whole retry schedule.
 *
 * @example throw new NonRetryable('quantity must be positive');
 */
export class NonRetryable extends Error {
  override readonly name = 'NonRetryable';

  /** @param detail is answered, and kept with the dead letter; never a secret */
  constructor(detail: string, options: { readonly cause?: unknown } = {}) {
    super(detail, options);
  }
}
