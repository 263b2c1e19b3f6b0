/** Errors of amqplib and RabbitMQ as Problems: nothing of amqplib leaves this room. */
import { Problem } from '../problem.ts';

/** The reply code of RabbitMQ (AMQP 0-9-1 §1.2 "reply codes"), or undefined for errors of the network. */
export function replyCodeOf(error: unknown): number | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'number' ? code : undefined;
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** @param doing what was tried, such as `declare the queue "setway.sub.mail"` */
export function toBrokerProblem(error: unknown, doing: string): Problem {
  if (error instanceof Problem) return error;
  const refusal = `RabbitMQ refused to ${doing}: ${reasonOf(error)}.`;
  switch (replyCodeOf(error)) {
    case 403:
      return new Problem(
        'invalid-settings',
        `${refusal} Give its user configure, write and read permissions on this vhost.`,
        { cause: error },
      );
    case 404:
      return new Problem('not-found', `${refusal} Declare it first: provision the topology.`, {
        cause: error,
      });
    case 405:
      return new Problem('conflict', `${refusal} Another connection holds it exclusively: close that one.`, {
        cause: error,
      });
    case 406:
      return new Problem(
        'conflict',
        `${refusal} It exists with other arguments, and RabbitMQ cannot change those: delete it or use another name.`,
        { cause: error },
      );
    default:
      return unavailable(`Could not ${doing}: ${reasonOf(error)}.`, error);
  }
}

export function unavailable(detail: string, cause?: unknown): Problem {
  return new Problem('broker-unavailable', `${detail} Send it again: the connection comes back by itself.`, {
    retryAfterSeconds: 1,
    ...(cause === undefined ? {} : { cause }),
  });
}
