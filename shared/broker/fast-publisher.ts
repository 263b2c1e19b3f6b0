/**
 * Publishing without confirms, on a channel of its own: at most once. RabbitMQ tells only about messages no queue
 * took. What was written before `close` arrives, because closing the channel waits for RabbitMQ to read up to there.
 *
 * Nor does it tell what a quorum queue refuses. A channel that holds on to a dead leader (see publisher.ts) would lose
 * every fast message to that queue for ever: so a channel that was used makes way for a new one now and then.
 */
import process from 'node:process';
import type { Channel, ChannelModel } from 'amqplib';
import type { OutboundMessage } from '../message/amqp-message.ts';
import { unavailable } from './amqp-problem.ts';
import { endsWithin } from '../deadline.ts';
import { keepChannel, type KeptChannel } from './kept-channel.ts';
import { assertPublishable, bufferOf, publishOptions } from './outbound.ts';
import type { PublisherOptions } from './publisher.ts';

/** The longest time that fast messages get lost unseen; a new channel costs two round trips. */
const channelLifeMs = 30_000;

export class FastPublisher {
  readonly #options: PublisherOptions;
  readonly #kept: KeptChannel;
  #channel: Channel | undefined;
  #isWritable = true;
  #isClosing = false;
  #isUsed = false;
  #cancelRenewal: (() => void) | undefined;
  /** Calls that wait for room, or for the channel that is being opened. */
  #waiting: (() => void)[] = [];
  /** Resolves when what was published in this turn of the event loop is in the socket. */
  #turn: Promise<void> | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#kept = keepChannel({
      ...options,
      purpose: 'fast',
      open: (model: ChannelModel) => model.createChannel(),
      onOpen: (channel) => this.#use(channel),
      onLost: (error) => this.#lose(error),
    });
  }

  /** See `Broker.publishFast`. */
  async publish(messages: readonly OutboundMessage[]): Promise<void> {
    assertPublishable(messages);
    this.#isUsed = true;
    for (const message of messages) {
      while (!this.#isReady()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#send(message);
    }
    await (this.#turn ??= this.#endOfTurn());
  }

  /** Lets waiting calls look again; they end with a Problem when the broker cannot be written to. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Waits at most `timeoutMs` until RabbitMQ has read everything written. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosing = true;
    this.#kept.stop();
    this.#cancelRenewal?.();
    this.wake();
    const channel = this.#channel;
    if (channel) await endsWithin(this.#options.clock, timeoutMs, closeChannel(channel));
  }

  /**
   * amqplib gathers the frames of a turn and writes them at its end (lib/mux.js: `nextTick`, then `setImmediate`; ours
   * stands behind it in both queues). All callers of a turn go on together, because what they do next, which is to
   * answer clients, takes a third less CPU in one go.
   */
  #endOfTurn(): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#turn = undefined;
        resolve();
      };
      process.nextTick(() => setImmediate(end));
    });
  }

  #isReady(): boolean {
    if (this.#isClosing || !this.#options.isUsable()) {
      throw unavailable('RabbitMQ takes no messages now: it is not connected, or out of memory or disk.');
    }
    return this.#channel !== undefined && this.#isWritable;
  }

  #send({ exchange, routingKey, body, properties }: OutboundMessage): void {
    if (this.#options.missing.has(exchange)) throw unavailable(`RabbitMQ has no exchange "${exchange}" now.`);
    try {
      this.#isWritable =
        this.#channel?.publish(exchange, routingKey, bufferOf(body), publishOptions(properties)) ?? false;
    } catch (error) {
      throw unavailable('The channel to RabbitMQ was lost.', error);
    }
  }

  #use(channel: Channel): void {
    this.#channel = channel;
    this.#isWritable = true;
    this.#isUsed = false;
    this.#renewLater();
    const { report } = this.#options;
    channel.on('return', ({ fields }) =>
      report({ kind: 'fast-returned', exchange: fields.exchange, routingKey: fields.routingKey }),
    );
    channel.on('drain', () => {
      this.#isWritable = true;
      this.wake();
    });
    this.wake();
  }

  #renewLater(): void {
    this.#cancelRenewal = this.#options.clock.after(channelLifeMs, () => {
      if (this.#isUsed && this.#options.isUsable()) this.#kept.replace();
      else this.#renewLater();
    });
  }

  #lose(error: unknown): void {
    this.#channel = undefined;
    this.#cancelRenewal?.();
    this.#options.missing.learn(error);
    this.wake();
  }
}

async function closeChannel(channel: Channel): Promise<void> {
  await channel.close();
}
