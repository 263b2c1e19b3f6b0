/**
 * Broker URLs (`amqp://user:password@host:5672/vhost?heartbeat=10`, RabbitMQ URI Specification) as amqplib's address
 * object. amqplib connects to one address and reads it anew at each attempt, so the connection moves on to the next
 * URL by overwriting that object.
 */
import type { Options } from 'amqplib';
import { Problem } from '../problem.ts';

export type BrokerAddress = Required<
  Pick<
    Options.Connect,
    'protocol' | 'hostname' | 'port' | 'username' | 'password' | 'vhost' | 'frameMax' | 'heartbeat'
  >
>;

/** RabbitMQ's own default; RabbitMQ 4.1 refuses less than 8192. */
const defaultFrameMaxBytes = 131_072;

/**
 * @param heartbeatSeconds unless the URL has its own; amqplib takes it from the address only, never from its options
 * @throws Problem `invalid-settings`, without the URL's credentials
 */
export function parseBrokerUrl(text: string, heartbeatSeconds: number): BrokerAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^amqps?:$/.test(url.protocol) || url.hostname === '') {
    throw new Problem('invalid-settings', 'A broker URL looks like amqp://user:password@host:5672/vhost.');
  }
  const protocol = url.protocol.slice(0, -1);
  return {
    protocol,
    hostname: url.hostname.replaceAll(/^\[|\]$/g, ''),
    port: Number(url.port) || (protocol === 'amqps' ? 5671 : 5672),
    username: decodeURIComponent(url.username) || 'guest',
    password: decodeURIComponent(url.password) || 'guest',
    vhost: url.pathname.slice(1), // still percent-encoded: amqplib decodes it
    frameMax: wholeNumber(url, 'frameMax') ?? defaultFrameMaxBytes,
    heartbeat: wholeNumber(url, 'heartbeat') ?? heartbeatSeconds,
  };
}

function wholeNumber(url: URL, name: string): number | undefined {
  const text = url.searchParams.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,9}$/.test(text)) {
    throw new Problem('invalid-settings', `"${name}" of a broker URL is a whole number, such as ${name}=10.`);
  }
  return Number(text);
}
