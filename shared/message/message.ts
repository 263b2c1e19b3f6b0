import type { MessageId } from '../identifier.ts';

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
}

/** A draft with its identity: minted once per publish, the same through failover and every resend. */
export interface Message extends Omit<Draft, 'route'> {
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
