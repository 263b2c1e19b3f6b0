/**
 * Publishing with confirms, pipelined on one channel.
 *
 * RabbitMQ numbers the publishes of a confirm channel 1, 2, 3…; `basic.ack(tag, multiple)` names one or all up to it
 * (Consumer Acknowledgements and Publisher Confirms). A message that no queue takes comes back as `basic.return`
 * *before* its ack. It carries the tag as `correlationId`, because its id may be in flight twice.
 *
 *     queued ──written──▶ in flight ──ack──▶ confirmed | unroutable (returned before)
 *        │                    └──nack, channel lost──▶ unknown
 *        └──blocked, disconnected, timeout──▶ unknown, never written
 *
 * A timeout settles the caller's outcome; the slot stays until RabbitMQ answers or the channel ends, so the limits
 * below hold for what is really unconfirmed. No promise, timer or closure per message: one of each per call.
 *
 * A message that is not confirmed in time, or refused, makes the channel suspect; if some time later it is still open,
 * or others were refused meanwhile, a new channel takes its place. RabbitMQ keeps with each channel what it knows of the
 * quorum queues behind it, and 3.10 can hold on to a leader whose node was killed: then every message for that queue is
 * refused on this channel for ever (seen after two of nine kills). Where the queue is to blame, being full or without a
 * leader, a new channel does not help: so each replacement in a row comes after twice the time of the last.
 */
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import type { Clock } from '../clock.ts';
import type { OutboundMessage } from '../message/amqp-message.ts';
import type { PublishOutcome } from './broker.ts';
import type { ReportEvent } from './broker-event.ts';
import type { Connection } from './connection.ts';
import { endsWithin } from '../deadline.ts';
import { keepChannel, type KeptChannel } from './kept-channel.ts';
import type { MissingExchanges } from './missing-exchanges.ts';
import { assertPublishable, bufferOf, publishOptions } from './outbound.ts';

/** One call of `publish`. */
interface Batch {
  messages: readonly OutboundMessage[];
  /** Index of the next message to write. */
  next: number;
  readonly outcomes: (PublishOutcome | undefined)[];
  open: number;
  readonly finish: (outcomes: readonly PublishOutcome[]) => void;
  cancelTimeout: () => void;
}

/** One message in flight. */
interface Slot {
  readonly batch: Batch;
  readonly index: number;
  readonly bytes: number;
}

export interface PublisherOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly report: ReportEvent;
  readonly missing: MissingExchanges;
  /** Whether the broker can be written to at all. */
  readonly isUsable: () => boolean;
}

/** Bounds on what RabbitMQ has not confirmed: far above what keeps a channel busy, far below what hurts a host. */
const maxUnconfirmed = 10_000;
const maxUnconfirmedBytes = 32 * 1024 * 1024;

/** From suspicion to replacement: RabbitMQ has elected a leader by then, and what it refused was sent once more. */
const firstSuspicionMs = 2000;
const longestSuspicionMs = 300_000;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #kept: KeptChannel;
  #channel: ConfirmChannel | undefined;
  /** False while amqplib's buffer is full, until it drains. */
  #isWritable = true;
  #queue: Batch[] = [];
  #slots = new Map<number, Slot>();
  #returned = new Set<number>();
  #unconfirmedBytes = 0;
  /** Delivery tag of the next publish, and the lowest one that a multiple ack may still concern. */
  #nextTag = 1;
  #lowestTag = 1;
  /** Messages it has refused, with `basic.nack`. */
  #refused = 0;
  #suspicionMs = firstSuspicionMs;
  /** Set while the channel is suspect. */
  #acquit: (() => void) | undefined;
  #onIdle: (() => void) | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#kept = keepChannel({
      ...options,
      purpose: 'confirm',
      open: (model: ChannelModel) => model.createConfirmChannel(),
      onOpen: (channel) => this.#use(channel),
      onLost: (error) => this.#lose(error),
    });
  }

  /** See `Broker.publish`. */
  async publish(messages: readonly OutboundMessage[], timeoutMs: number): Promise<readonly PublishOutcome[]> {
    assertPublishable(messages);
    if (messages.length === 0 || !this.#options.isUsable()) return messages.map(() => 'unknown');
    return new Promise((finish) => {
      const outcomes = Array.from<PublishOutcome | undefined>({ length: messages.length });
      const batch: Batch = { messages, next: 0, outcomes, open: messages.length, finish, cancelTimeout() {} };
      batch.cancelTimeout = this.#options.clock.after(timeoutMs, () => this.#abandon(batch));
      this.#queue.push(batch);
      this.#write();
    });
  }

  /** The broker cannot be written to: what is not written yet becomes unknown; what is, still waits for its confirm. */
  suspend(): void {
    const waiting = this.#queue;
    this.#queue = [];
    for (const batch of waiting) dropUnwritten(batch);
    this.#checkIdle();
  }

  /** Waits for the confirms of what was written, then closes the channel; each at most `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#kept.stop();
    const idle = new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#checkIdle();
    await endsWithin(clock, timeoutMs, idle);
    const channel = this.#channel;
    if (channel) await endsWithin(clock, timeoutMs, channelClosed(channel));
    this.#lose(undefined);
    this.suspend();
  }

  #use(channel: ConfirmChannel): void {
    this.#channel = channel;
    this.#isWritable = true;
    this.#nextTag = 1;
    this.#lowestTag = 1;
    channel.on('ack', ({ deliveryTag, multiple }) => this.#confirm(deliveryTag, multiple, 'ack'));
    channel.on('nack', ({ deliveryTag, multiple }) => this.#confirm(deliveryTag, multiple, 'nack'));
    channel.on('return', ({ properties }) => this.#returned.add(Number(properties.correlationId)));
    channel.on('drain', () => {
      this.#isWritable = true;
      this.#write();
    });
    this.#write();
  }

  #lose(error: unknown): void {
    this.#channel = undefined;
    this.#acquit?.();
    this.#acquit = undefined;
    this.#options.missing.learn(error);
    const lost = this.#slots;
    this.#slots = new Map();
    this.#returned = new Set();
    this.#unconfirmedBytes = 0;
    for (const { batch, index } of lost.values()) settle(batch, index, 'unknown');
    this.#checkIdle();
  }

  /** @param unheard tag of a message that was not confirmed in time; undefined when one was refused */
  #suspect(unheard?: number): void {
    const refusedBefore = this.#refused;
    this.#acquit ??= this.#options.clock.after(this.#suspicionMs, () => {
      this.#acquit = undefined;
      const isStuck = unheard !== undefined && this.#slots.has(unheard);
      const isGuilty = isStuck || this.#refused > refusedBefore;
      this.#suspicionMs = isGuilty ? Math.min(this.#suspicionMs * 2, longestSuspicionMs) : firstSuspicionMs;
      if (isGuilty && this.#options.isUsable()) this.#kept.replace('Messages stay without a confirm.');
    });
  }

  #hasRoom(): boolean {
    return (
      this.#isWritable && this.#slots.size < maxUnconfirmed && this.#unconfirmedBytes < maxUnconfirmedBytes
    );
  }

  #write(): void {
    let batch = this.#queue[0];
    while (batch && this.#channel && this.#hasRoom()) {
      const message = batch.messages[batch.next];
      if (message) this.#send(this.#channel, batch, message);
      else this.#queue.shift();
      batch = this.#queue[0];
    }
  }

  #send(channel: ConfirmChannel, batch: Batch, message: OutboundMessage): void {
    const index = batch.next++;
    if (this.#options.missing.has(message.exchange)) return settle(batch, index, 'unknown');
    const tag = this.#nextTag;
    const { exchange, routingKey, properties, body } = message;
    try {
      const options = publishOptions(properties, String(tag));
      this.#isWritable = channel.publish(exchange, routingKey, bufferOf(body), options);
    } catch {
      // The channel is stale: its `close` event is on the way and settles the rest.
      return settle(batch, index, 'unknown');
    }
    this.#nextTag++;
    this.#unconfirmedBytes += body.length;
    this.#slots.set(tag, { batch, index, bytes: body.length });
  }

  #confirm(tag: number, multiple: boolean, verdict: 'ack' | 'nack'): void {
    if (!multiple) this.#settleTag(tag, verdict);
    else while (this.#lowestTag <= tag) this.#settleTag(this.#lowestTag++, verdict);
    this.#write();
    this.#checkIdle();
  }

  #settleTag(tag: number, verdict: 'ack' | 'nack'): void {
    const slot = this.#slots.get(tag);
    if (!slot) return;
    this.#slots.delete(tag);
    this.#unconfirmedBytes -= slot.bytes;
    const taken = this.#returned.delete(tag) ? 'unroutable' : 'confirmed';
    settle(slot.batch, slot.index, verdict === 'ack' ? taken : 'unknown');
    if (verdict === 'nack') this.#refuse();
  }

  /** Looks through what is in flight: once per suspicion, not per call, since all calls time out when RabbitMQ is silent. */
  #suspectFor(batch: Batch): void {
    for (const [tag, slot] of this.#slots) if (slot.batch === batch) return this.#suspect(tag);
  }

  #refuse(): void {
    this.#refused++;
    this.#suspect();
  }

  /** The call's time is over: whatever is open is unknown. */
  #abandon(batch: Batch): void {
    this.#queue = this.#queue.filter((queued) => queued !== batch);
    for (let index = 0; index < batch.outcomes.length; index++) settle(batch, index, 'unknown');
    batch.messages = [];
    if (this.#acquit === undefined) this.#suspectFor(batch);
  }

  #checkIdle(): void {
    if (this.#slots.size === 0 && this.#queue.length === 0) this.#onIdle?.();
  }
}

function settle(batch: Batch, index: number, outcome: PublishOutcome): void {
  if (batch.outcomes[index] !== undefined) return;
  batch.outcomes[index] = outcome;
  batch.open--;
  if (batch.open > 0) return;
  batch.cancelTimeout();
  batch.finish(batch.outcomes as readonly PublishOutcome[]);
}

function dropUnwritten(batch: Batch): void {
  for (let index = batch.next; index < batch.outcomes.length; index++) settle(batch, index, 'unknown');
}

/** Closing a stale channel throws: it is closed then. */
async function channelClosed(channel: ConfirmChannel): Promise<void> {
  await channel.close();
}
