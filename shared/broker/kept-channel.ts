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

/**
 * Opens the channel now or when the connection comes, and again whenever it is lost.
 * @returns ends this; the caller closes the channel itself
 */
export function keepChannel<C extends Channel>(options: KeptChannelOptions<C>): () => void {
  const { connection, clock, report, purpose } = options;
  let opening: ChannelModel | undefined;
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
      if (reason !== undefined) report({ kind: 'channel-lost', purpose, reason: reasonOf(reason) });
      if (opening === model) opening = undefined;
      options.onLost(reason);
      queueMicrotask(reopen); // a broken connection closes its channels first and says so after
    });
    // The connection may have broken in the same breath as it answered, before the listeners above.
    if (connection.model === model) options.onOpen(channel);
  };
  connection.onChange(reopen);
  reopen();
  return () => (isKept = false);
}
