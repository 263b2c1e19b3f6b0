/** Errors of amqplib and RabbitMQ as Problems: nothing of amqplib leaves this room. */
import { Problem } from '../problem.ts';
import type { ProblemKind } from '../problem.ts';

/** The reply code of RabbitMQ (AMQP 0-9-1 §1.2 "reply codes"), or undefined for errors of the network. */
function replyCodeOf(error: unknown): number | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'number' ? code : undefined;
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What RabbitMQ refuses for good, and what to do about it. Everything else may work later. */
const refusals = new Map<number | undefined, { readonly kind: ProblemKind; readonly remedy: string }>([
  [
    403,
    {
      kind: 'invalid-settings',
      remedy: 'Give its user configure, write and read permissions on this vhost.',
    },
  ],
  [404, { kind: 'not-found', remedy: 'Declare it first: provision the topology.' }],
  [405, { kind: 'conflict', remedy: 'Another connection holds it exclusively: close that one.' }],
  [
    406,
    {
      kind: 'conflict',
      remedy:
        'If it exists with other arguments, delete it or use another name: RabbitMQ cannot change arguments.',
    },
  ],
]);

/** @param doing what was tried, such as `declare the queue "setway.sub.mail"` */
export function toBrokerProblem(error: unknown, doing: string): Problem {
  if (error instanceof Problem) return error;
  const refusal = refusals.get(replyCodeOf(error));
  if (!refusal) return unavailable(`Could not ${doing}: ${reasonOf(error)}.`, error);
  const detail = `RabbitMQ refused to ${doing}: ${reasonOf(error)}. ${refusal.remedy}`;
  return new Problem(refusal.kind, detail, { cause: error });
}

export function unavailable(detail: string, cause?: unknown): Problem {
  return new Problem('broker-unavailable', `${detail} Send it again: the connection comes back by itself.`, {
    retryAfterSeconds: 1,
    ...(cause === undefined ? {} : { cause }),
  });
}
