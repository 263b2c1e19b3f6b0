/**
 * What somebody would write without Setway on Cloudflare: a worker that hands each body to a Durable Object, which
 * publishes it through amqplib and answers after the confirm. Bundled by workerd.ts.
 */
import { connect, type ConfirmChannel } from 'amqplib';

interface ObjectEnv {
  readonly BENCH_AMQP_URL: string;
  readonly BENCH_QUEUE: string;
}

interface Namespace {
  idFromName(name: string): unknown;
  get(id: unknown): { fetch(request: Request): Promise<Response> };
}

export class BareObject {
  readonly #env: ObjectEnv;
  #channel: Promise<ConfirmChannel> | undefined;

  constructor(_state: unknown, env: ObjectEnv) {
    this.#env = env;
  }

  async fetch(request: Request): Promise<Response> {
    const body = Buffer.from(await request.arrayBuffer());
    this.#channel ??= this.#open();
    const channel = await this.#channel;
    await new Promise<void>((resolve, reject) => {
      const options = { persistent: true, mandatory: true, contentType: 'application/json' };
      channel.publish('', this.#env.BENCH_QUEUE, body, options, (error: unknown) =>
        error === null ? resolve() : reject(new Error('RabbitMQ refused it', { cause: error })),
      );
    });
    return Response.json({ ok: true }, { status: 202 });
  }

  async #open(): Promise<ConfirmChannel> {
    const connection = await connect(this.#env.BENCH_AMQP_URL);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(this.#env.BENCH_QUEUE, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum' },
    });
    return channel;
  }
}

/** Named as the runtime's configuration wants it: the bundle's entry makes it the default export. */
export const worker = {
  fetch(request: Request, env: ObjectEnv & { readonly HOST: Namespace }): Promise<Response> {
    return env.HOST.get(env.HOST.idFromName('one')).fetch(request);
  },
};
