/**
 * The contract of a SET's register: which hosts live, which subscriptions this SET has stopped by itself, and what its
 * hosts have declared in RabbitMQ.
 */
import type { Stop } from '../sets/set-link.ts';
import type { Declared } from '../topology/plan.ts';

export interface Register {
  /** Says that this host lives, and how its broker is. */
  beat(broker: string): Promise<void>;
  /** This host stops. */
  leave(): Promise<void>;
  disabled(): Promise<ReadonlyMap<string, Stop>>;
  disable(subscription: string, reason: string): Promise<void>;
  /** Lets a subscription go on that this SET had stopped. */
  enable(subscription: string): Promise<void>;
  /** Notes what is about to be declared; what is known stays as it is. Returns everything that is noted. */
  note(declared: readonly Declared[]): Promise<readonly Declared[]>;
  /** It was taken down. */
  forget(declared: readonly Declared[]): Promise<void>;
}
