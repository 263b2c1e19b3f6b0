/** What the catalog is told of a SET that is taken over, or comes back. */
import type { Holding } from './ownership.ts';

/** Each may be repeated. @throws Problem `database-unavailable` without the center */
export interface FleetWrites {
  /** Nothing new is offered to it. @param database whether its own is known to be away */
  fence(set: string, database: 'there' | 'away'): Promise<void>;
  /** Gives these buckets away, those that are still the SET's. */
  bequeath(set: string, holdings: readonly Holding[]): Promise<void>;
  activate(set: string): Promise<void>;
}
