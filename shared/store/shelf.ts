/** The contract of the copies that a database keeps of other SETs' messages; see shared/publish/mirror.ts. */
import type { MessageId } from '../identifier.ts';
import type { Offer } from '../sets/set-link.ts';

export interface Shelf {
  /** Keeps copies of what a SET is about to take; a copy that is there already stays. */
  keep(home: string, offers: readonly Offer[]): Promise<void>;
  /** The oldest copies of a home, ready to be offered elsewhere: what was due after a while is due at its instant. */
  oldest(home: string, limit: number): Promise<readonly KeptCopy[]>;
  /** Ends copies of a home; one that is gone stays gone. */
  drop(home: string, ids: readonly MessageId[]): Promise<void>;
  /** How many copies are kept, by home. */
  amounts(): Promise<ReadonlyMap<string, number>>;
}

export interface KeptCopy {
  readonly offer: Offer;
  /** Unix milliseconds, by the clock of the database that keeps it. */
  readonly keptAtMs: number;
}
