import type { Problem } from '../problem.ts';

/** Publishing and consuming have a connection each: a memory alarm blocks only the one that publishes. */
export type ConnectionRole = 'publish' | 'consume';

/** What happened at the broker: for logs and metrics. Hosts carry no credentials. */
export type BrokerEvent =
  | { readonly kind: 'connected'; readonly role: ConnectionRole; readonly host: string }
  | {
      readonly kind: 'connect-failed';
      readonly role: ConnectionRole;
      readonly host: string;
      readonly reason: string;
    }
  | { readonly kind: 'disconnected'; readonly role: ConnectionRole; readonly reason: string }
  | { readonly kind: 'blocked'; readonly role: ConnectionRole; readonly reason: string }
  | { readonly kind: 'unblocked'; readonly role: ConnectionRole }
  | { readonly kind: 'channel-lost'; readonly purpose: ChannelPurpose; readonly reason: string }
  /** A fast message that no queue took. */
  | { readonly kind: 'fast-returned'; readonly exchange: string; readonly routingKey: string }
  /** RabbitMQ refuses a remembered declaration after a reconnect. */
  | { readonly kind: 'topology-refused'; readonly problem: Problem }
  /** `onMessage` threw: its message went back to the queue. */
  | { readonly kind: 'handler-failed'; readonly queue: string; readonly error: unknown };

export type ChannelPurpose = 'confirm' | 'fast' | 'consume';

export type ReportEvent = (event: BrokerEvent) => void;
