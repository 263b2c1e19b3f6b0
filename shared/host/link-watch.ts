/** Tells by metrics how the federation of a SET is, and remembers it for its status. */
import type { FederationView } from '../sets/federation-view.ts';
import type { Telemetry } from '../telemetry.ts';

export interface LinkWatchParts {
  readonly set: string;
  readonly telemetry: Telemetry;
  /** @throws Problem when RabbitMQ's management does not answer */
  readonly lookAtFederation?: (() => Promise<FederationView>) | undefined;
}

export interface LinkWatch {
  readonly look: () => Promise<void>;
  /** As it was at the last look that got an answer. */
  readonly seen: FederationView | undefined;
}

export function createLinkWatch({ set, telemetry, lookAtFederation }: LinkWatchParts): LinkWatch {
  let seen: FederationView | undefined;
  return {
    get seen() {
      return seen;
    },
    async look() {
      if (!lookAtFederation) return;
      const now = await lookAtFederation();
      for (const { upstream } of seen?.links ?? [])
        telemetry.forget('setway_federation_link_up', { set, upstream });
      for (const { downstream } of seen?.lags ?? [])
        telemetry.forget('setway_federation_lag_messages', { set: downstream, upstream: set });
      for (const { upstream, state } of now.links)
        telemetry.set('setway_federation_link_up', { set, upstream }, state === 'up' ? 1 : 0);
      for (const { downstream, messages } of now.lags)
        telemetry.set('setway_federation_lag_messages', { set: downstream, upstream: set }, messages);
      seen = now;
    },
  };
}
