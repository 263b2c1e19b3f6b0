/** amqplib alone: pipelined confirms to a quorum queue, with a window of messages under way and no HTTP at all. */
import { connect } from 'amqplib';
import { answerQuestions } from './child.ts';

export interface ConfirmsPlan {
  readonly body: string;
  readonly window: number;
  readonly seconds: number;
  /** Ends it earlier. */
  readonly maxMessages: number;
}

export interface ConfirmsReport {
  readonly confirmed: number;
  readonly seconds: number;
}

const queue = process.env['BENCH_QUEUE'] ?? '';
const connection = await connect(process.env['BENCH_AMQP_URL'] ?? '');
const channel = await connection.createConfirmChannel();
await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });

function run({ body, window, seconds, maxMessages }: ConfirmsPlan): Promise<ConfirmsReport> {
  const content = Buffer.from(body);
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  let sent = 0;
  let confirmed = 0;
  return new Promise((resolve, reject) => {
    const isOver = (): boolean => sent >= maxMessages || performance.now() >= endMs;
    const onConfirm = (error: unknown): void => {
      if (error !== null) return reject(new Error('RabbitMQ refused a message', { cause: error }));
      confirmed++;
      if (!isOver()) send();
      else if (confirmed === sent) resolve({ confirmed, seconds: (performance.now() - startedMs) / 1000 });
    };
    const send = (): void => {
      sent++;
      channel.publish('', queue, content, { persistent: true, mandatory: true }, onConfirm);
    };
    while (sent < Math.min(window, maxMessages)) send();
  });
}

answerQuestions(run);
console.info('is ready');
