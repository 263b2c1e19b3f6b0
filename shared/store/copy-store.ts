/**
 * The contract of held copies: messages that another SET delivers, passive until somebody takes over. No look-up, search or
 * audit sees them.
 */
import type { MessageId } from '../identifier.ts';
import type { Message } from '../message/message.ts';

export interface HeldCopy {
  readonly message: Message;
  /** How long it is kept. */
  readonly keepForMs: number;
}

export interface FoundCopy {
  readonly message: Message;
  /** Where it stands in the order of arrival: to go on behind it. */
  readonly place: string;
}

export interface CopyStore {
  /** Keeps copies in the order given; one that is held already, or is this database's own message, stays as it is. */
  hold(copies: readonly HeldCopy[]): Promise<void>;
  /**
   * Copies of messages that a SET delivers, in the order of arrival.
   * @param after the place of the last one that was seen
   */
  findHeld(origin: string, after: string | null, limit: number): Promise<readonly FoundCopy[]>;
  /** They are messages of this database now, or nobody needs them. */
  forgetHeld(ids: readonly MessageId[]): Promise<void>;
  /** Removes at most so many whose time is over. Returns how many. */
  dropOldHeld(limit: number): Promise<number>;
  /** How many are held, by the SET that delivers them. */
  countHeld(): Promise<ReadonlyMap<string, number>>;
}
