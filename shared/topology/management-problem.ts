/** What the management API answers instead of what was asked, as Problems with a remedy. Nothing here names a credential. */
import { Problem, type ProblemKind } from '../problem.ts';

export interface Refusal {
  /** What was tried, such as `create the vhost "hangzhou"`. */
  readonly doing: string;
  /** Host and port, so that the right one is looked at. */
  readonly at: string;
  readonly status: number;
  /** What RabbitMQ says, one line; empty when it says nothing readable. */
  readonly reason: string;
}

const remedies = new Map<number, { readonly kind: ProblemKind; readonly remedy: string }>([
  [
    401,
    {
      kind: 'invalid-settings',
      remedy:
        'User or password of the management URL are wrong, or the user lacks the tag "administrator" that this needs.',
    },
  ],
  [403, { kind: 'invalid-settings', remedy: 'Give the user of the management URL the tag "administrator".' }],
  [404, { kind: 'not-found', remedy: 'It is not there, or the plugin that knows it is off.' }],
  [
    405,
    {
      kind: 'invalid-settings',
      remedy: 'This RabbitMQ does not offer it: look at its version, and at what stands before it.',
    },
  ],
  [409, { kind: 'conflict', remedy: 'Somebody else changes it now. Try again.' }],
  [400, { kind: 'conflict', remedy: 'Look at what is there under this name.' }],
]);

/** RabbitMQ answered, and not with success. */
export function refused({ doing, at, status, reason }: Refusal): Problem {
  const known = remedies.get(status);
  const said = reason === '' ? `HTTP ${status}` : `HTTP ${status}, ${reason}`;
  if (known)
    return new Problem(known.kind, `RabbitMQ at ${at} refused to ${doing}: ${said}. ${known.remedy}`);
  if (status >= 300 && status < 400)
    return new Problem(
      'invalid-settings',
      `${at} sends elsewhere (HTTP ${status}) when asked to ${doing}. Name the address of the management API itself.`,
    );
  if (status < 500) return new Problem('invalid-settings', `RabbitMQ at ${at} refused to ${doing}: ${said}.`);
  return away({ doing, at, what: said });
}

/** It answered with something that is not the management API: another server's page, a proxy's. */
export function strange({ doing, at, what }: Silence): Problem {
  return new Problem(
    'invalid-settings',
    `What answers at ${at} when asked to ${doing} is not RabbitMQ's management API (${what}). Name its address, by default port 15672, and turn the plugin rabbitmq_management on.`,
  );
}

export interface Silence {
  readonly doing: string;
  readonly at: string;
  readonly what: string;
}

/** No answer, or one that says that it cannot answer now. */
export function away({ doing, at, what }: Silence, cause?: unknown): Problem {
  return new Problem(
    'broker-unavailable',
    `Could not ${doing}: RabbitMQ's management at ${at} does not answer (${what}). Is the node up, its plugin rabbitmq_management on, the port reachable from here? Then try again.`,
    { retryAfterSeconds: 5, ...(cause === undefined ? {} : { cause }) },
  );
}
