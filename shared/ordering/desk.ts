/** What the workers of streams work with. */
import type { Clock } from '../clock.ts';
import type { Hears } from '../delivery/hearing.ts';
import type { Deferred } from '../delivery/lane.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { LoadLease, Stepped, StreamStep, StreamView } from '../store/ordered-store.ts';
import type { Store } from '../store/store.ts';
import type { Subscription, Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';

export interface OrderParts {
  readonly set: string;
  readonly host: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly subscription: (name: string) => Subscription | undefined;
  readonly topic: (name: string) => Topic | undefined;
  /** Since when a subscription is there, in Unix milliseconds by the SET's database; 0 for ever. */
  readonly subscribedSinceMs: (name: string) => number;
  /** One webhook call; undefined when no slot was free while it was wanted. */
  readonly call: (
    message: Message,
    subscription: Subscription,
    attempt: number,
    isWanted: () => boolean,
  ) => Promise<DeliveryOutcome | Deferred | undefined>;
  /** Publishes messages once more; `unknown` when the broker did not say that it has them. */
  readonly resend: (messages: readonly Message[]) => Promise<'sent' | 'unknown'>;
  /** A stream has something to do after this long. */
  readonly onDue: (afterMs: number) => void;
  /** A gap was decided, and may have a callback to be told. */
  readonly onGap: () => void;
  /** A callback of an item that has ended is due. */
  readonly onOwed: () => void;
}

/** What the workers of one database share: requests of many streams in one round trip. */
export interface Desk {
  readonly store: Store;
  readonly load: (lease: LoadLease) => Promise<StreamView | undefined>;
  /** Steps of one stream, in one statement. @returns what became of the last one */
  readonly step: (steps: readonly StreamStep[]) => Promise<Stepped>;
  /** Whether a message is for a subscription by its content. */
  readonly hears: Hears;
  /** The host stops: begin no more items. */
  readonly isStopping: () => boolean;
}
