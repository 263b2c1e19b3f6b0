/**
 * The life of a message and of a delivery.
 *
 *   HALF ──commit──▶ READY (or SCHEDULED) ; ──rollback──▶ ROLLED_BACK ; ──nobody knows──▶ CHECK_EXHAUSTED (parked)
 *   SCHEDULED ──due──▶ READY ; ──cancel──▶ CANCELLED
 *   READY ──▶ CONFIRMED | UNROUTABLE | FAILED
 *
 * A nack, a timeout or a dead channel keeps a message READY: a timeout means *unknown*, and the resend carries the same
 * id. A parked transaction can still be decided by its producer.
 * Delivery (message × subscription): appears with its first outcome. RETRY → RETRY | LEASED | DONE | DEAD | SKIPPED;
 * LEASED is held by its consumer, which will say later what became of it; BLOCKED waits for an earlier one of its order.
 * DEAD goes back to RETRY by a redrive, and to DONE by a consumer that says late that it is done; by nothing else.
 */
export type MessageState =
  | 'HALF'
  | 'ROLLED_BACK'
  | 'CHECK_EXHAUSTED'
  | 'SCHEDULED'
  | 'CANCELLED'
  | 'READY'
  | 'CONFIRMED'
  | 'UNROUTABLE'
  | 'FAILED';
export type DeliveryState = 'DONE' | 'RETRY' | 'LEASED' | 'DEAD' | 'SKIPPED' | 'BLOCKED';

/** States a message may go to from each state. */
export const messageTransitions: Readonly<Record<MessageState, readonly MessageState[]>> = {
  HALF: ['READY', 'SCHEDULED', 'ROLLED_BACK', 'CHECK_EXHAUSTED'],
  CHECK_EXHAUSTED: ['READY', 'SCHEDULED', 'ROLLED_BACK'],
  ROLLED_BACK: [],
  SCHEDULED: ['READY', 'CANCELLED'],
  CANCELLED: [],
  READY: ['CONFIRMED', 'UNROUTABLE', 'FAILED'],
  CONFIRMED: [],
  UNROUTABLE: [],
  FAILED: [],
};

export const deliveryTransitions: Readonly<Record<DeliveryState, readonly DeliveryState[]>> = {
  BLOCKED: ['RETRY', 'LEASED', 'DONE', 'DEAD', 'SKIPPED'],
  RETRY: ['RETRY', 'LEASED', 'DONE', 'DEAD', 'SKIPPED'],
  LEASED: ['RETRY', 'LEASED', 'DONE', 'DEAD', 'SKIPPED'],
  DONE: [],
  DEAD: [],
  SKIPPED: [],
};
