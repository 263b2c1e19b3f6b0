/**
 * One SET's RabbitMQ behind the contract: two connections, because RabbitMQ stops reading from a connection that
 * publishes when it runs out of memory or disk, and acks must go on then. Declarations use the consuming one.
 *
 * | state | when |
 * |---|---|
 * | connected | both connections are up and the topology is declared |
 * | blocked | the same, and RabbitMQ has stopped the publishing one (`connection.blocked`) |
 * | disconnected | one of them is down: amqplib reconnects, with back-off and the next URL |
 */
import type { ChannelModel } from 'amqplib';
import type { Clock } from '../clock.ts';
import type { OutboundMessage } from '../message/amqp-message.ts';
import { asProblem, Problem } from '../problem.ts';
import type { Topology } from '../topology/plan.ts';
import { unavailable } from './amqp-problem.ts';
import type {
  Broker,
  BrokerState,
  ConsumeOptions,
  Consumption,
  InboundDelivery,
  PublishOutcome,
  TakeDown,
  TakeOptions,
} from './broker.ts';
import type { ReportEvent } from './broker-event.ts';
import { openConnection } from './connection.ts';
import type { Connection } from './connection.ts';
import { startConsumption } from './consumer.ts';
import type { RunningConsumption } from './consumer.ts';
import { createTakeDown, removeExchanges } from './take-down.ts';
import { readDepths } from './depths.ts';
import { declareTopology } from './declare.ts';
import { FastPublisher } from './fast-publisher.ts';
import { createMissingExchanges } from './missing-exchanges.ts';
import type { MissingExchanges } from './missing-exchanges.ts';
import { Publisher } from './publisher.ts';
import { takeSome } from './take.ts';

export interface RabbitMqOptions {
  /** Nodes of one cluster, tried in turn: `amqp://user:password@host:5672/vhost`. */
  readonly urls: readonly string[];
  /** A peer silent for two to three of these is gone. RabbitMQ advises 5–20 (Heartbeats). */
  readonly heartbeatSeconds: number;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
  readonly onEvent?: ReportEvent;
  /** How long `close` waits for handlers, for confirms, and for each answer of the broker; 5 s by default. */
  readonly closeTimeoutMs?: number;
}

const defaultCloseTimeoutMs = 5000;

/**
 * Returns at once, disconnected, and connects behind; a broker that is down is a state and no error.
 * @throws Problem `invalid-settings` when there is no URL or one cannot be read
 * @example
 * const broker = connectBroker({ urls: ['amqp://127.0.0.1'], heartbeatSeconds: 10, connectTimeoutMs: 3000, clock: systemClock });
 * await broker.provision(topology);
 * await broker.publish(messages, { timeoutMs: 5000 });
 */
export function connectBroker(options: RabbitMqOptions): Broker {
  if (options.urls.length === 0)
    throw new Problem('invalid-settings', 'A SET needs at least one broker URL.');
  return new RabbitMq(options);
}

class RabbitMq implements Broker {
  readonly #options: RabbitMqOptions;
  readonly #closeTimeoutMs: number;
  readonly #report: ReportEvent;
  readonly #missing: MissingExchanges;
  readonly #publishing: Connection;
  readonly #consuming: Connection;
  readonly #publisher: Publisher;
  readonly #fastPublisher: FastPublisher;
  readonly takeDown: TakeDown;
  readonly #consumptions = new Set<RunningConsumption>();
  readonly #listeners = new Set<(state: BrokerState) => void>();
  #topology: Topology | undefined;
  #state: BrokerState = 'disconnected';
  #closed: Promise<void> | undefined;

  constructor(options: RabbitMqOptions) {
    this.#options = options;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? defaultCloseTimeoutMs;
    this.#report = options.onEvent ?? (() => {});
    const parts = { ...options, report: this.#report };
    this.#missing = createMissingExchanges(options.clock, (exchange) => this.#restore(exchange));
    this.#consuming = openConnection({ ...parts, role: 'consume', setup: (model) => this.#redeclare(model) });
    this.#publishing = openConnection({ ...parts, role: 'publish' });
    const isUsable = (): boolean => this.#state === 'connected' && !this.#closed;
    const writing = { ...parts, connection: this.#publishing, missing: this.#missing, isUsable };
    // Before the publishers, so that the state is right when their channels open.
    this.#publishing.onChange(() => this.#update());
    this.#consuming.onChange(() => this.#update());
    this.#publisher = new Publisher(writing);
    this.#fastPublisher = new FastPublisher(writing);
    this.takeDown = createTakeDown((doing) => this.#liveModel(doing));
  }

  get state(): BrokerState {
    return this.#state;
  }

  onState(listener: (state: BrokerState) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  publish(
    messages: readonly OutboundMessage[],
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<readonly PublishOutcome[]> {
    return this.#publisher.publish(messages, timeoutMs);
  }

  publishFast(messages: readonly OutboundMessage[]): Promise<void> {
    return this.#fastPublisher.publish(messages);
  }

  async provision(topology: Topology, replaced: readonly string[] = []): Promise<void> {
    // First of all: who finds an exchange missing from now on declares the new one.
    this.#topology = topology;
    const model = this.#liveModel('declare the topology');
    await removeExchanges(model, replaced);
    await declareTopology(model, topology);
    this.#missing.forget();
  }

  async consume(options: ConsumeOptions): Promise<Consumption> {
    const model = this.#liveModel(`consume the queue "${options.queue}"`);
    const parts = { model, clock: this.#options.clock, report: this.#report };
    const consumption = await startConsumption(parts, options);
    this.#consumptions.add(consumption);
    void consumption.over.then(() => this.#consumptions.delete(consumption));
    if (this.#closed) await consumption.stop(0);
    return consumption;
  }

  async take<T>(
    options: TakeOptions,
    work: (deliveries: readonly InboundDelivery[]) => Promise<T>,
  ): Promise<T> {
    return takeSome(this.#liveModel('take messages'), options, work);
  }

  async depths(queues: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return readDepths(this.#liveModel('look at the queues'), queues);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Channels before connections: closing a connection at once drops what its channels have not sent yet. */
  async #close(): Promise<void> {
    const timeoutMs = this.#closeTimeoutMs;
    await Promise.all([...this.#consumptions].map((consumption) => consumption.stop(timeoutMs)));
    await Promise.all([this.#publisher.close(timeoutMs), this.#fastPublisher.close(timeoutMs)]);
    await Promise.all([this.#publishing.close(timeoutMs), this.#consuming.close(timeoutMs)]);
  }

  #update(): void {
    const isUp = this.#publishing.model !== undefined && this.#consuming.model !== undefined;
    const upState = this.#publishing.isBlocked ? 'blocked' : 'connected';
    const state = isUp ? upState : 'disconnected';
    if (state === this.#state) return;
    this.#state = state;
    if (state !== 'connected') this.#publisher.suspend();
    this.#fastPublisher.wake();
    for (const listener of this.#listeners) listener(state);
  }

  #liveModel(doing: string): ChannelModel {
    const { model } = this.#consuming;
    if (!model || this.#closed) throw unavailable(`Could not ${doing}: RabbitMQ is not connected.`);
    return model;
  }

  /** Never rejects: what RabbitMQ refuses now it refuses at each attempt, and the rest of the SET works without it. */
  async #redeclare(model: ChannelModel): Promise<void> {
    if (!this.#topology) return;
    try {
      await declareTopology(model, this.#topology);
      this.#missing.forget();
    } catch (error) {
      this.#report({ kind: 'topology-refused', problem: asProblem(error) });
    }
  }

  /** Somebody deleted an exchange of ours. */
  #restore(exchange: string): void {
    const isOurs = this.#topology?.exchanges.some(({ name }) => name === exchange) ?? false;
    const { model } = this.#consuming;
    if (isOurs && model) void this.#redeclare(model);
  }
}
