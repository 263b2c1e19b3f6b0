/** How federation is between a SET and others, as its RabbitMQ tells. */

/** Links by which copies, or lent messages, come from another SET. */
export interface UpstreamLinks {
  readonly upstream: string;
  /** `up`: there are some, and all run. */
  readonly state: 'up' | 'down';
  /** Why the first one does not run, in RabbitMQ's words. */
  readonly error?: string;
}

/** What another SET has not got yet. */
export interface Lag {
  readonly downstream: string;
  /** As old as RabbitMQ's statistics: seconds. */
  readonly messages: number;
}

export interface FederationView {
  readonly links: readonly UpstreamLinks[];
  readonly lags: readonly Lag[];
}
