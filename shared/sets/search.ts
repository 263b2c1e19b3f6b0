/** What may be asked of the messages a SET keeps. Every SET answers in the same order, so that answers can be merged. */
import type { MessageId } from '../identifier.ts';
import type { DeliveryState, MessageState } from '../message/lifecycle.ts';

/**
 * A place in the order newest first: when a message was stored, to the microsecond, then its id. Never the id alone:
 * ids are ordered by the clock of the edge that made them, and those of keyed publishes are spread within their day.
 */
export interface Position {
  /** Unix microseconds, as text: the database's clock is finer than a number here may be. */
  readonly atMicros: string;
  readonly id: MessageId;
}

export interface MessageFilter {
  readonly topic?: string;
  readonly key?: string;
  readonly lane?: string;
  /** Of a sequence or a batch. */
  readonly session?: string;
  readonly state?: MessageState;
  /** Messages that have an outcome for it. */
  readonly subscription?: string;
  readonly deliveryState?: DeliveryState;
  /** Unix milliseconds; stored at or after. */
  readonly fromMs?: number;
  /** Unix milliseconds; stored before. */
  readonly toMs?: number;
  /** Part of the error of the message or of an attempt, in any case; three characters or more. */
  readonly error?: string;
}

/** What the owner has, from the catalog: an unfiltered list goes through it. */
export interface Belongings {
  readonly owner: string;
  readonly topics: readonly string[];
  readonly subscriptions: readonly string[];
}

export interface MessageSearch {
  readonly of: Belongings;
  readonly filter: MessageFilter;
  readonly after?: Position;
  readonly limit: number;
}

export interface FoundMessage {
  readonly id: MessageId;
  readonly topic: string;
  readonly tag: string | null;
  readonly key: string | null;
  readonly lane: string | null;
  readonly session: string | null;
  readonly sequence: number | null;
  readonly state: MessageState;
  readonly set: string;
  readonly size: number;
  readonly storedAt: string;
  readonly deliverAt: string | null;
  readonly error: string | null;
  readonly position: Position;
}

/** For `toSorted`: the order in which every database and every SET answers. */
export function newestFirst(a: FoundMessage, b: FoundMessage): number {
  const micros = BigInt(b.position.atMicros) - BigInt(a.position.atMicros);
  if (micros !== 0n) return micros < 0n ? -1 : 1;
  return a.id > b.id ? -1 : Number(a.id < b.id);
}

/** An owner's scheduled messages in the order they fall due, behind a place in that order. */
export interface ScheduledQuery {
  readonly owner: string;
  /** `atMicros` is when it falls due. */
  readonly after?: Position;
  readonly limit: number;
}

/** As `newestFirst`, for scheduled messages: their position is when they fall due. */
export function dueFirst(a: FoundMessage, b: FoundMessage): number {
  return newestFirst(b, a);
}
