/**
 * One AMQP connection that is always there or coming back. amqplib's recovery reconnects with back-off; each failure
 * moves on to the next URL. Around it stand four things that recovery does not do:
 *
 * - a connection that breaks while `setup` runs has no `error` listener yet, which would end the process;
 * - one that breaks between `setup` and `connect` is taken for alive forever: it is told to be closed;
 * - a `setup` that rejects makes recovery close the connection and wait for the answer without a limit: `setup` here
 *   rejects only when the connection is gone already;
 * - `close` waits for the broker's answer without a limit: here it does not.
 */
import { connect } from 'amqplib';
import type { ChannelModel, RecoveringChannelModel } from 'amqplib';
import type { Clock } from '../clock.ts';
import { reasonOf } from './amqp-problem.ts';
import { parseBrokerUrl } from './broker-address.ts';
import type { BrokerAddress } from './broker-address.ts';
import type { ConnectionRole, ReportEvent } from './broker-event.ts';
import { endsWithin } from '../deadline.ts';

export interface ConnectionOptions {
  readonly role: ConnectionRole;
  readonly urls: readonly string[];
  readonly heartbeatSeconds: number;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
  readonly report: ReportEvent;
  /** Runs on every new connection before it counts as connected. What it throws is reported by itself. */
  readonly setup?: (model: ChannelModel) => Promise<void>;
}

export interface Connection {
  /** The live connection, or undefined. */
  readonly model: ChannelModel | undefined;
  readonly isBlocked: boolean;
  /** Called whenever `model` or `isBlocked` changed. */
  onChange(listener: () => void): void;
  /** Never rejects; gives up waiting for the broker's answer after `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
}

/** Quick at first, for a broker that restarts; seconds at last, so that a dead one is not flooded. */
const backoff = { initialDelay: 100, maxDelay: 5000, factor: 2, jitter: 0.2 } as const;

/** @throws Problem `invalid-settings` for a URL that cannot be one; a broker that does not answer is no error. */
export function openConnection(options: ConnectionOptions): Connection {
  const { role, clock, report } = options;
  const addresses = options.urls.map((url) => parseBrokerUrl(url, options.heartbeatSeconds));
  const address = rotation(addresses);
  const listeners: (() => void)[] = [];
  let model: ChannelModel | undefined;
  let isBlocked = false;
  const dead = new WeakSet<ChannelModel>();

  const change = (next: ChannelModel | undefined, blocked: boolean): void => {
    model = next;
    isBlocked = blocked;
    for (const listener of listeners) listener();
  };
  const watch = (recovering: RecoveringChannelModel): RecoveringChannelModel =>
    recovering
      .on('connect', (next) => {
        report({ kind: 'connected', role, host: address.host() });
        change(next, false);
        if (dead.has(next)) next.emit('close', new Error('The connection broke while it was set up'));
      })
      .on('connect-failed', (error) => {
        report({ kind: 'connect-failed', role, host: address.host(), reason: reasonOf(error) });
        address.moveOn();
      })
      .on('disconnect', (error) => {
        report({ kind: 'disconnected', role, reason: reasonOf(error) });
        address.moveOn();
        change(undefined, false);
      })
      .on('blocked', (reason) => {
        report({ kind: 'blocked', role, reason });
        change(model, true);
      })
      .on('unblocked', () => {
        report({ kind: 'unblocked', role });
        change(model, false);
      })
      .on('error', () => {}); // 'disconnect' follows and tells the reason

  const setup = async (next: ChannelModel): Promise<void> => {
    next.on('error', () => {}).on('close', () => dead.add(next));
    await options.setup?.(next);
    if (dead.has(next)) throw new Error('The connection broke while it was set up');
  };
  const recovering = connect(address.current, {
    timeout: options.connectTimeoutMs,
    noDelay: true,
    clientProperties: { connection_name: `setway ${role}` },
    recovery: { ...backoff, waitForConnect: false, setup },
  }).then(watch);

  return {
    get model() {
      return model;
    },
    get isBlocked() {
      return isBlocked;
    },
    onChange: (listener) => void listeners.push(listener),
    async close(timeoutMs) {
      await endsWithin(
        clock,
        timeoutMs,
        recovering.then((it) => it.close()),
      );
      change(undefined, false);
    },
  };
}

/** The object amqplib reads, and the way to its next content. */
function rotation(addresses: readonly BrokerAddress[]): {
  readonly current: BrokerAddress;
  readonly host: () => string;
  readonly moveOn: () => void;
} {
  const current = { ...addresses[0] } as BrokerAddress;
  let index = 0;
  return {
    current,
    host: () => `${current.hostname}:${current.port}`,
    moveOn() {
      index = (index + 1) % addresses.length;
      Object.assign(current, addresses[index]);
    },
  };
}
