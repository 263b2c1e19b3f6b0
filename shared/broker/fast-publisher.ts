/**
 * Publishing without confirms, on a channel of its own: at most once. RabbitMQ tells only about messages no queue
 * took. What was written before `close` arrives, because closing the channel waits for RabbitMQ to read up to there.
 */
import type { Channel, ChannelModel } from 'amqplib';
import type { OutboundMessage } from '../message/amqp-message.ts';
import { unavailable } from './amqp-problem.ts';
import { endsWithin } from '../deadline.ts';
import { keepChannel } from './kept-channel.ts';
import { assertPublishable, bufferOf, publishOptions } from './outbound.ts';
import type { PublisherOptions } from './publisher.ts';

export class FastPublisher {
  readonly #options: PublisherOptions;
  readonly #stopKeeping: () => void;
  #channel: Channel | undefined;
  #isWritable = true;
  #isClosing = false;
  /** Calls that wait for room, or for the channel that is being opened. */
  #waiting: (() => void)[] = [];

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#stopKeeping = keepChannel({
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
    for (const message of messages) {
      while (!this.#isReady()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#send(message);
    }
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
    this.#stopKeeping();
    this.wake();
    const channel = this.#channel;
    if (channel) await endsWithin(this.#options.clock, timeoutMs, closeChannel(channel));
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

  #lose(error: unknown): void {
    this.#channel = undefined;
    this.#options.missing.learn(error);
    this.wake();
  }
}

async function closeChannel(channel: Channel): Promise<void> {
  await channel.close();
}
