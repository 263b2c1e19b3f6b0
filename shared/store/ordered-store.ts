/**
 * The contract of streams: what of a message database serves ordered delivery (shared/ordering/ordering.ts tells the
 * story). A stream is `lane/<topic>/<lane>` or `session/<topic>/<session>` of one subscription. Every function is one
 * round trip for many streams, and each change is guarded by the lease of its stream.
 */
import type { Lease } from '../agenda/agenda.ts';
import type { MessageId } from '../identifier.ts';
import type { DeliveryState } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from './delivery-outcome.ts';

/** A message that the broker handed out, for the stream it belongs to. */
export interface Arrival {
  readonly messageId: MessageId;
  readonly subscription: string;
  readonly stream: string;
}

/**
 * `ordered`: its stream knows of it, and wakes if it has something to do; `astray`: it has no place in the order and no
 * outcome either.
 */
export type Arrived = 'ordered' | 'astray';

/** The lease of a stream. */
export interface StreamLease extends Lease {
  readonly subscription: string;
  readonly stream: string;
}

/** What a stream is to load from: which entries are its own. */
export interface LaneLease extends StreamLease {
  readonly owner: string;
  readonly topic: string;
  readonly lane: string;
}

/** The next of a stream. */
export interface StreamItem {
  readonly position: number;
  readonly messageId: MessageId;
  /** Undefined when it is kept no longer. */
  readonly message: Message | undefined;
  /** The delivery as it stands; undefined before the first try. */
  readonly state: DeliveryState | undefined;
  /** Tries so far. */
  readonly attempts: number;
}

/** A stream at one instant. */
export interface StreamView {
  /** Arrivals counted so far: who saw these items has seen what they signalled. */
  readonly signals: number;
  /** Behind the cursor, in order. */
  readonly items: readonly StreamItem[];
  readonly more: 'none' | 'perhaps';
}

/** One step of a stream: an item was called, or passed over. */
export interface StreamStep {
  readonly lease: StreamLease;
  /** Everything up to here is decided, unless the outcome is RETRY. */
  readonly position: number;
  readonly outcome?: DeliveryOutcome;
  /** Close the stream if it still has these signals. */
  readonly closeAt?: number;
}

/** `held`: go on; `closed`: the stream's entry is gone; `lost`: the lease is somebody else's. */
export type Stepped = 'held' | 'closed' | 'lost';

export interface OrderedStore {
  /** Wakes the streams that messages arrived for. */
  arrive(arrivals: readonly Arrival[], set: string): Promise<readonly Arrived[]>;
  /** The next items of each stream; undefined where the lease is over. */
  loadStreams(leases: readonly LaneLease[]): Promise<readonly (StreamView | undefined)[]>;
  /** Records outcomes, moves cursors, and closes streams that have nothing left. */
  step(steps: readonly StreamStep[], host: string): Promise<readonly Stepped[]>;
}
