/** The contract of one SET's RabbitMQ. Nobody outside this room sees amqplib. */
import type { InboundMessage, OutboundMessage } from '../message/amqp-message.ts';
import type { BindingPlan, Topology } from '../topology/plan.ts';

/**
 * What became of a publish. `unknown` is everything between: nack, timeout, dead channel, blocked connection. It may
 * or may not have been taken, so the resend carries the same id.
 */
export type PublishOutcome = 'confirmed' | 'unroutable' | 'unknown';

export type BrokerState = 'connected' | 'blocked' | 'disconnected';

export interface Consumption {
  /** Resolves when the consumption ended for another reason than `stop` (queue deleted, channel or connection lost). */
  readonly ended: Promise<void>;
  /**
   * Stops cleanly: no new messages, waits until every message in flight is acked or requeued, then closes the channel.
   * @param graceMs what is not finished by then is left to the broker, which hands it out again
   */
  stop(graceMs: number): Promise<void>;
}

/** A message handed to a consumer. Exactly one of `ack`, `requeue` and `reject` is called, once; all are safe after a channel death. */
export interface InboundDelivery {
  readonly message: InboundMessage;
  ack(): void;
  requeue(): void;
  /** Not ours to handle: to the dead-letter queue, where it can be seen. */
  reject(): void;
}

export interface ConsumeOptions {
  readonly queue: string;
  /** Messages handed out and not yet acked (basic.qos), 1–65535. */
  readonly prefetch: number;
  /** When it throws or rejects, its message goes back to the queue: catch what should not be handed out again at once. */
  readonly onMessage: (delivery: InboundDelivery) => void | Promise<void>;
}

/** Every call throws Problem `broker-unavailable` when not connected. */
export interface TakeDown {
  /** Undoes bindings; one that is not there is fine. */
  unbind(bindings: readonly BindingPlan[]): Promise<void>;
  /** Deletes a queue; if it must be `spent`, one with messages or consumers is `in use` and stays. */
  removeQueue(name: string, state: 'spent' | 'any'): Promise<'gone' | 'in use'>;
  /**
   * Moves what waits in one queue to another, at most so much: each message is confirmed there before it is acked here,
   * so a break makes a second copy, never none. Returns how many.
   */
  move(from: string, to: string, maxMessages: number): Promise<number>;
}

export interface TakeOptions {
  /** In the order of preference. */
  readonly queues: readonly string[];
  readonly max: number;
  /** Takes no further message once their bodies are so many bytes. */
  readonly maxBytes: number;
}

export interface Broker {
  readonly state: BrokerState;
  /** Called on every change of state; the returned function unsubscribes. */
  onState(listener: (state: BrokerState) => void): () => void;
  /**
   * Publishes persistent, mandatory messages with pipelined confirms on one channel. Never rejects for a broker's
   * failure: each message has its outcome, in the order given. While blocked or disconnected, `unknown` at once. A basic.return arrives before the ack, so
   * confirmed = ack and no return (RabbitMQ: Consumer Acknowledgements and Publisher Confirms).
   * @throws Problem `invalid-request` before anything is written when AMQP cannot carry a message (a routing key above
   * 255 bytes…); each fault's `at` begins with the message's index: `/3/routingKey`. Send the others without it.
   */
  publish(
    messages: readonly OutboundMessage[],
    options: { readonly timeoutMs: number },
  ): Promise<readonly PublishOutcome[]>;
  /**
   * Publishes without waiting for confirms; resolves when the frames are handed to the socket (waiting for `drain`
   * when its buffer is full). Flushed by `close`.
   * @throws Problem `broker-unavailable` when there is no usable channel or the connection is blocked
   */
  publishFast(messages: readonly OutboundMessage[]): Promise<void>;
  /**
   * Declares exchanges, queues and bindings, on a channel of its own; idempotent. Give the whole topology: it is
   * remembered in place of the one before, even when this call fails, and declared again after a reconnect.
   * @throws Problem `conflict` naming what exists with other arguments (the rest is declared all the same);
   * `broker-unavailable` when not connected
   * @param replaced exchanges that are there with another type: deleted first, if nothing is bound to them
   */
  provision(topology: Topology, replaced?: readonly string[]): Promise<void>;
  /** Takes down what a topology does not want any more. */
  readonly takeDown: TakeDown;
  /**
   * Consumes a queue on a channel of its own. A consumption that `ended` is over: consume again when connected.
   * @throws Problem `not-found` when there is no such queue, `broker-unavailable` when not connected
   */
  consume(options: ConsumeOptions): Promise<Consumption>;
  /**
   * Takes messages that are ready, for as long as `work` lasts: what it has not settled by then, or when it throws, goes
   * back to its queue.
   * @throws Problem `broker-unavailable`; whatever `work` throws
   */
  take<T>(options: TakeOptions, work: (deliveries: readonly InboundDelivery[]) => Promise<T>): Promise<T>;
  /**
   * Messages ready in each queue, those in flight left out; a queue that is not there is left out.
   * @throws Problem `broker-unavailable` when not connected
   */
  depths(queues: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Stops consumptions, flushes publishes, closes channels, then connections. Safe to call twice. */
  close(): Promise<void>;
}
