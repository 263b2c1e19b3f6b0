/** The contract of a SET's register: which hosts live, and which subscriptions this SET has stopped by itself. */
export interface Register {
  /** Says that this host lives, and how its broker is. */
  beat(broker: string): Promise<void>;
  /** This host stops. */
  leave(): Promise<void>;
  disabled(): Promise<ReadonlySet<string>>;
  disable(subscription: string, reason: string): Promise<void>;
}
