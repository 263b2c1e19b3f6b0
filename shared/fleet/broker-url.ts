/** The parts of a broker URL that a control plane decides about: whose it is, and in which vhost. */
import { Problem } from '../problem.ts';

export interface BrokerLogin {
  readonly vhost: string;
  readonly user: string;
  readonly password: string;
}

/**
 * @returns absent is what the URL leaves open: `amqp://host` names neither vhost nor user
 * @throws Problem `invalid-request`, without the URL's credentials
 */
export function readBrokerUrl(text: string): Partial<BrokerLogin> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^amqps?:$/.test(url.protocol) || url.hostname === '')
    throw new Problem(
      'invalid-request',
      'A broker URL looks like amqp://host:5672 or amqps://user:password@host/vhost.',
    );
  const vhost = decodeURIComponent(url.pathname.slice(1));
  return {
    ...(vhost === '' ? {} : { vhost }),
    ...(url.username === '' ? {} : { user: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
  };
}

/** The same address under this login. */
export function withLogin(text: string, { vhost, user, password }: BrokerLogin): string {
  const url = new URL(text);
  url.username = encodeURIComponent(user);
  url.password = encodeURIComponent(password);
  url.pathname = `/${encodeURIComponent(vhost)}`;
  return url.href;
}

/** As RabbitMQ's clients read it: without a vhost `/`, without a user `guest`. */
export function loginOf(text: string): BrokerLogin {
  return { vhost: '/', user: 'guest', password: 'guest', ...readBrokerUrl(text) };
}
