/**
 * The life of a message and of a delivery.
 *
 * Message: READY → CONFIRMED | UNROUTABLE | FAILED. A nack, a timeout or a dead channel keeps it READY: a timeout
 * means *unknown*, and the resend carries the same id.
 * Delivery (message × subscription): appears with its first outcome. RETRY → RETRY | DONE | DEAD; the rest are ends.
 */
export type MessageState = 'READY' | 'CONFIRMED' | 'UNROUTABLE' | 'FAILED';
export type DeliveryState = 'DONE' | 'RETRY' | 'DEAD';

/** States a message may go to from each state. */
export const messageTransitions: Readonly<Record<MessageState, readonly MessageState[]>> = {
  READY: ['CONFIRMED', 'UNROUTABLE', 'FAILED'],
  CONFIRMED: [],
  UNROUTABLE: [],
  FAILED: [],
};

export const deliveryTransitions: Readonly<Record<DeliveryState, readonly DeliveryState[]>> = {
  RETRY: ['RETRY', 'DONE', 'DEAD'],
  DONE: [],
  DEAD: [],
};
