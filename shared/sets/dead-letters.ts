/** Dead letters: deliveries whose schedule is over, or that an answer ended. And what becomes of them again. */
import type { MessageId, RedriveId } from '../identifier.ts';
import type { Belongings } from './search.ts';

export interface DeadLetterFilter {
  readonly subscription?: string;
  readonly topic?: string;
  /** Unix milliseconds; died at or after. */
  readonly fromMs?: number;
  /** Unix milliseconds; died before. */
  readonly toMs?: number;
  /** Part of the last attempt's error, in any case. */
  readonly error?: string;
}

/** A place in the order newest death first. */
export interface DeathPosition {
  /** Unix microseconds, as text. */
  readonly atMicros: string;
  readonly id: MessageId;
  readonly subscription: string;
}

export interface DeadLetterSearch {
  readonly of: Belongings;
  readonly filter: DeadLetterFilter;
  readonly after?: DeathPosition;
  readonly limit: number;
}

export interface DeadLetter {
  readonly id: MessageId;
  readonly topic: string;
  readonly tag: string | null;
  readonly key: string | null;
  readonly subscription: string;
  readonly set: string;
  readonly attempts: number;
  readonly diedAt: string;
  readonly status: number | null;
  readonly error: string | null;
  readonly position: DeathPosition;
}

/** What a redrive takes up again. */
export type Selection =
  | {
      readonly kind: 'dead-letters';
      readonly filter: DeadLetterFilter;
      /** These messages only. */
      readonly ids?: readonly MessageId[];
    }
  | {
      /** Everything a subscription hears of a topic, once more, as new messages. */
      readonly kind: 'subscription';
      readonly subscription: string;
      readonly topic: string;
      /** See `tagPattern`. */
      readonly pattern: string;
      /** Unix milliseconds; stored at or after. */
      readonly fromMs: number;
      /** Unix milliseconds; stored before. Never later than the beginning of the redrive. */
      readonly toMs?: number;
    };

export interface RedriveStart {
  readonly id: RedriveId;
  readonly of: Belongings;
  readonly selection: Selection;
  /** At most so many webhook calls a second in each database. */
  readonly perSecond: number;
  /** Of the request that began it. */
  readonly fingerprint?: string;
}

export interface RedriveRecord {
  readonly id: RedriveId;
  readonly owner: string;
  readonly state: 'RUNNING' | 'DONE';
  /** Deliveries begun again so far. */
  readonly handled: number;
  readonly perSecond: number;
  readonly beganAt: string;
  readonly endedAt: string | null;
  readonly fingerprint: string | null;
}

/** A message once more, under a new id. */
export interface ReplayRequest {
  readonly original: MessageId;
  readonly id: MessageId;
  readonly owner: string;
  /** These only, past the broker; absent: to whoever hears it, through the broker. */
  readonly subscriptions?: readonly string[];
  readonly idempotency?: { readonly keyHash: string; readonly fingerprint: string };
}

/** For `toSorted`: the order in which every database and every SET answers. */
export function latestFirst({ position: a }: DeadLetter, { position: b }: DeadLetter): number {
  const micros = BigInt(b.atMicros) - BigInt(a.atMicros);
  if (micros !== 0n) return micros < 0n ? -1 : 1;
  if (a.id !== b.id) return a.id > b.id ? -1 : 1;
  return a.subscription > b.subscription ? -1 : Number(a.subscription < b.subscription);
}
