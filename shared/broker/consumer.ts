/**
 * Consuming one queue on a channel of its own: prefetch bounds what is handed out, and a fault costs this queue only.
 *
 *     running ──stop──▶ stopping ──all settled or grace over──▶ closed
 *        └──cancel by the server, channel or connection lost──▶ ended
 *
 * Closing the channel gives everything unsettled back to the queue. An ended consumption stays ended: its owner
 * consumes again once the broker is connected.
 */
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import type { Clock } from '../clock.ts';
import { Problem } from '../problem.ts';
import { reasonOf, toBrokerProblem } from './amqp-problem.ts';
import type { Consumption, ConsumeOptions, InboundDelivery } from './broker.ts';
import type { ReportEvent } from './broker-event.ts';
import { endsWithin } from '../deadline.ts';
import { toInbound } from './inbound.ts';

export interface ConsumerParts {
  readonly model: ChannelModel;
  readonly clock: Clock;
  readonly report: ReportEvent;
}

/** How long the broker may take to answer `basic.cancel` and `channel.close`. */
const answerTimeoutMs = 2000;
/** basic.qos counts in 16 bits; 0 would mean no limit. */
const maxPrefetch = 65_535;

/** @throws Problem `not-found` for a queue that does not exist, `broker-unavailable` when the connection breaks */
export async function startConsumption(
  parts: ConsumerParts,
  options: ConsumeOptions,
): Promise<RunningConsumption> {
  if (!Number.isInteger(options.prefetch) || options.prefetch < 1 || options.prefetch > maxPrefetch) {
    throw new Problem('invalid-request', `The prefetch is a whole number from 1 to ${maxPrefetch}.`);
  }
  const consumption = new RunningConsumption(parts, options);
  try {
    await consumption.start();
    return consumption;
  } catch (error) {
    throw toBrokerProblem(error, `consume the queue "${options.queue}"`);
  }
}

export class RunningConsumption implements Consumption {
  readonly ended: Promise<void>;
  /** Resolves when the channel is closed, whatever the reason. */
  readonly over: Promise<void>;
  readonly #parts: ConsumerParts;
  readonly #options: ConsumeOptions;
  #end: () => void = () => {};
  #finish: () => void = () => {};
  #channel: Channel | undefined;
  #consumerTag = '';
  #state: 'running' | 'stopping' | 'over' = 'running';
  #inFlight = 0;
  #onSettled: (() => void) | undefined;
  #stopped: Promise<void> | undefined;

  constructor(parts: ConsumerParts, options: ConsumeOptions) {
    this.#parts = parts;
    this.#options = options;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.over = new Promise((resolve) => (this.#finish = resolve));
  }

  async start(): Promise<void> {
    const channel = await this.#parts.model.createChannel();
    this.#channel = channel;
    let reason: unknown;
    channel.on('error', (error: Error) => (reason = error));
    channel.on('close', () => this.#lose(reason));
    await channel.prefetch(this.#options.prefetch);
    const { consumerTag } = await channel.consume(this.#options.queue, (message) => this.#take(message));
    this.#consumerTag = consumerTag;
  }

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const channel = this.#channel;
    if (this.#state === 'over' || !channel) return;
    this.#state = 'stopping';
    const { clock } = this.#parts;
    const settled = new Promise<void>((resolve) => (this.#onSettled = resolve));
    if (this.#inFlight === 0) this.#onSettled?.();
    await endsWithin(clock, answerTimeoutMs, cancel(channel, this.#consumerTag));
    await endsWithin(clock, graceMs, settled);
    this.#state = 'over';
    await endsWithin(clock, answerTimeoutMs, close(channel));
  }

  #take(message: ConsumeMessage | null): void {
    if (message === null) return this.#cancelled();
    // Handed out after `stop`: the closing of the channel gives it back.
    if (this.#state !== 'running') return;
    this.#inFlight++;
    const delivery = this.#deliver(message);
    try {
      const handled = this.#options.onMessage(delivery);
      if (handled) handled.catch((error: unknown) => this.#fail(delivery, error));
    } catch (error) {
      this.#fail(delivery, error);
    }
  }

  #deliver(message: ConsumeMessage): InboundDelivery {
    let isSettled = false;
    const settleOnce = (send: (channel: Channel) => void): void => {
      if (isSettled) return;
      isSettled = true;
      this.#settle(send);
    };
    return {
      message: toInbound(message),
      ack: () => settleOnce((channel) => channel.ack(message)),
      requeue: () => settleOnce((channel) => channel.reject(message, true)),
      reject: () => settleOnce((channel) => channel.reject(message, false)),
    };
  }

  #settle(send: (channel: Channel) => void): void {
    this.#inFlight--;
    if (this.#state !== 'over' && this.#channel) {
      try {
        send(this.#channel);
      } catch {
        // The channel just died: RabbitMQ hands the message out again, which at-least-once allows.
      }
    }
    if (this.#inFlight === 0) this.#onSettled?.();
  }

  #fail(delivery: InboundDelivery, error: unknown): void {
    this.#parts.report({ kind: 'handler-failed', queue: this.#options.queue, error });
    delivery.requeue();
  }

  /** The queue was deleted, or its node went away. */
  #cancelled(): void {
    const channel = this.#channel;
    if (channel) void endsWithin(this.#parts.clock, answerTimeoutMs, close(channel));
  }

  #lose(reason: unknown): void {
    const wasStopped = this.#state !== 'running';
    this.#state = 'over';
    this.#channel = undefined;
    this.#onSettled?.();
    if (reason !== undefined)
      this.#parts.report({ kind: 'channel-lost', purpose: 'consume', reason: reasonOf(reason) });
    if (!wasStopped) this.#end();
    this.#finish();
  }
}

/** As promises even when the channel is stale and throws at once. */
async function cancel(channel: Channel, consumerTag: string): Promise<void> {
  await channel.cancel(consumerTag);
}

async function close(channel: Channel): Promise<void> {
  await channel.close();
}
