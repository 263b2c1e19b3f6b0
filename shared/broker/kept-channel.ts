/**
 * A channel that is always there or coming back while its connection lives. RabbitMQ closes a channel for one wrong
 * frame (a missing exchange: 404), which must cost that channel only, and briefly.
 */
import type { Channel, ChannelModel } from 'amqplib';
import type { Clock } from '../clock.ts';
import { reasonOf } from './amqp-problem.ts';
import type { ChannelPurpose, ReportEvent } from './broker-event.ts';
import type { Connection } from './connection.ts';

export interface KeptChannelOptions<C extends Channel> {
  readonly purpose: ChannelPurpose;
  readonly connection: Connection;
  readonly clock: Clock;
  readonly report: ReportEvent;
  readonly open: (model: ChannelModel) => Promise<C>;
  /** A new channel, ready for use. */
  readonly onOpen: (channel: C) => void;
  /** The channel is gone with all it had not confirmed; `error` is RabbitMQ's reason if it gave one. */
  readonly onLost: (error: unknown) => void;
}

/** Opening fails on a live connection only when it has no channel number left: try again, not at once. */
const reopenDelayMs = 1000;

export interface KeptChannel {
  /** No other channel is opened from now on; the caller closes the last one itself. */
  readonly stop: () => void;
  /** Gives the channel up, as lost, for a new one on the same connection. @param reason reported, if there is one */
  readonly replace: (reason?: string) => void;
}

/** Opens the channel now or when the connection comes, and again whenever it is lost. */
export function keepChannel<C extends Channel>(options: KeptChannelOptions<C>): KeptChannel {
  const { connection, clock, report, purpose } = options;
  let opening: ChannelModel | undefined;
  let current: C | undefined;
  let isKept = true;

  const reopen = (): void => {
    const { model } = connection;
    if (!isKept || !model || model === opening) return;
    opening = model;
    options.open(model).then(
      (channel) => adopt(model, channel),
      (error: unknown) => {
        report({ kind: 'channel-lost', purpose, reason: reasonOf(error) });
        clock.after(reopenDelayMs, () => {
          if (opening === model) opening = undefined;
          reopen();
        });
      },
    );
  };
  const adopt = (model: ChannelModel, channel: C): void => {
    let reason: unknown;
    channel.on('error', (error: Error) => (reason = error));
    channel.on('close', () => {
      if (current !== channel) return;
      if (opening === model) opening = undefined;
      lose(reason);
    });
    if (current) options.onLost(undefined); // its connection ended without a word
    current = channel;
    // The connection may have broken in the same breath as it answered, before the listeners above.
    if (connection.model === model) options.onOpen(channel);
  };
  const lose = (reason: unknown): void => {
    current = undefined;
    if (reason !== undefined) report({ kind: 'channel-lost', purpose, reason: reasonOf(reason) });
    options.onLost(reason);
    queueMicrotask(reopen); // a broken connection closes its channels first and says so after
  };
  connection.onChange(reopen);
  reopen();
  return {
    stop: () => void (isKept = false),
    replace(reason) {
      const given = current;
      if (!given) return;
      opening = undefined;
      lose(reason === undefined ? undefined : new Error(reason));
      given.close().catch(() => {}); // its connection may be gone, and a channel that hangs never answers
    },
  };
}
