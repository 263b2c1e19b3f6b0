/** A Durable Object that talks to RabbitMQ: bundled and run in workerd by broker-on-workerd.test.ts. */
import type { Broker, PublishOutcome } from '../../shared/broker/broker.ts';
import { connectBroker } from '../../shared/broker/rabbitmq.ts';
import { systemClock } from '../../shared/clock.ts';
import type { OutboundMessage } from '../../shared/message/amqp-message.ts';

const name = 'from.workerd';

/** Each path is one step; the connections outlive the requests, as they do in production. */
export class BrokerObject {
  readonly #broker: Broker;

  constructor(_state: unknown, env: { readonly AMQP_URL: string }) {
    const urls = [env.AMQP_URL];
    this.#broker = connectBroker({ urls, heartbeatSeconds: 10, connectTimeoutMs: 3000, clock: systemClock });
  }

  async fetch(request: Request): Promise<Response> {
    return Response.json((await this.#step(new URL(request.url).pathname)) ?? null);
  }

  async #step(path: string): Promise<unknown> {
    switch (path) {
      case '/provision':
        await this.#connected();
        return this.#broker.provision({
          exchanges: [{ name, type: 'topic' }],
          queues: [{ name, arguments: { 'x-queue-type': 'quorum' } }],
          bindings: [{ exchange: name, queue: name, bindingKey: 'a.#' }],
        });
      case '/publish':
        await this.#connected();
        return this.#publish([messageTo(name, 'a.b'), messageTo(name, 'nobody'), messageTo(name, 'a.c')]);
      case '/publish-to-nowhere':
        return this.#publish([messageTo('nowhere', 'a')]);
      case '/publish-fast':
        return this.#broker.publishFast(Array.from({ length: 500 }, () => messageTo(name, 'a.fast')));
      case '/drain':
        return this.#drain();
      case '/close':
        await this.#broker.close();
        return this.#broker.state;
      default:
        throw new Error(`There is no step ${path}.`);
    }
  }

  #publish(messages: readonly OutboundMessage[]): Promise<readonly PublishOutcome[]> {
    return this.#broker.publish(messages, { timeoutMs: 5000 });
  }

  /** The routing keys in the queue, counted, until 502 messages have come. */
  async #drain(): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {};
    let open = 502;
    let finish = (): void => {};
    const complete = new Promise<void>((resolve) => (finish = resolve));
    const consumption = await this.#broker.consume({
      queue: name,
      prefetch: 50,
      onMessage(delivery) {
        const { routingKey } = delivery.message;
        counts[routingKey] = (counts[routingKey] ?? 0) + 1;
        delivery.ack();
        if (--open === 0) finish();
      },
    });
    await complete;
    await consumption.stop(2000);
    return counts;
  }

  async #connected(): Promise<void> {
    if (this.#broker.state === 'connected') return;
    await new Promise<void>((resolve) => {
      this.#broker.onState((state) => state === 'connected' && resolve());
    });
  }
}

function messageTo(exchange: string, routingKey: string): OutboundMessage {
  return { exchange, routingKey, body: new TextEncoder().encode('hello'), properties: { headers: {} } };
}
