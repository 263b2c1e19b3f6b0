import type { MessageId } from '../identifier.ts';
import type { Callback } from './callback.ts';
import type { Retries } from './retries.ts';

/**
 * How much a publish promises.
 * `confirm`: committed in Postgres before the 202, sent until the broker confirms it: at least once.
 * `fast`: handed to the broker only, at most once, but flushed by a graceful stop.
 */
export type Mode = 'confirm' | 'fast';

/** Explicit choice of a SET. `only` never leaves it; `prefer` fails over to siblings. */
export interface RouteChoice {
  readonly set: string;
  readonly fallback: 'only' | 'prefer';
}

/** When a message falls due: after a while, or at an instant (Unix milliseconds). By the database's clock. */
export type Due = { readonly afterMs: number } | { readonly atMs: number };

/** What becomes of an ordered group when an item is missing or dead: wait for it, go on without it, give up the rest. */
export type OnGap = 'block' | 'skip' | 'abort';

/** The place of a message in an order. */
export type Order =
  | {
      /** One of `size` messages that were accepted together. */
      readonly kind: 'sequence';
      readonly session: string;
      /** 1 … size. */
      readonly sequence: number;
      readonly size: number;
      /** After this long from the first arrival what is there is assembled, and what is missing is sent again. */
      readonly deadlineMs: number;
      readonly onGap: OnGap;
      /** Told what was decided about a gap. Kept in the store, not in the broker's copy. */
      readonly gapCallback?: string;
    }
  | {
      /** Open-ended: numbered by the store in commit order. */
      readonly kind: 'lane';
      readonly lane: string;
    };

/** The body is a JSON array of items that travel together; see shared/message/batch.ts. */
export interface Batch {
  readonly session: string;
  readonly size: number;
}

/** What a client asks to publish, parsed and within all limits. */
export interface Draft {
  readonly topic: string;
  /** Routing key inside the topic: `eu.created`. ASCII words joined by dots, at most 255 bytes. */
  readonly tag?: string;
  /** Partition key, for example a user id: decides the SET (by bucket) and the shard. At most 255 bytes. */
  readonly key?: string;
  readonly mode: Mode;
  readonly body: Uint8Array;
  readonly contentType: string;
  /** The client's own headers, lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly route?: RouteChoice;
  /** Absent: at once. Never with `fast`. */
  readonly due?: Due;
  /** Not delivered any more after this instant (Unix milliseconds). */
  readonly expiresAtMs?: number;
  readonly order?: Order;
  readonly batch?: Batch;
  /** `high` overtakes what waits in the normal queue. */
  readonly priority?: 'high';
  /** In place of what its subscriptions say. */
  readonly retries?: Retries;
  /** Told how its deliveries end, in place of those of its subscriptions. */
  readonly callback?: Callback;
  /** The message whose content this one repeats. */
  readonly replayOf?: MessageId;
}

/** A draft with its identity: minted once per publish, the same through failover and every resend. */
export interface Message extends Omit<Draft, 'route' | 'due'> {
  readonly id: MessageId;
  /** Who published it: the owner of the API key. */
  readonly owner: string;
  /** W3C trace context, as it came in. */
  readonly traceparent?: string;
  /** Unix milliseconds, by the edge's clock; for people, never to decide what is due. */
  readonly acceptedAtMs: number;
  readonly placement: Placement;
}

/** Which SET took the message, and why. */
export interface Placement {
  readonly set: string;
  readonly reason: string;
  readonly distanceKm?: number;
}
