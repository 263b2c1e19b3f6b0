/**
 * Takes tokens from buckets that all edges share, and from the edge's own while Redis is away or slow: a publisher is
 * never refused because of a limit that cannot be asked, and an edge alone still lets through no more than the limit.
 * After a failure Redis is left alone for a moment, so that an outage costs one short wait now and then.
 */
import { createLocalBuckets, type Buckets } from '../catalog/publish-limit.ts';
import type { Clock } from '../clock.ts';
import { withinMs } from '../deadline.ts';
import type { Telemetry } from '../telemetry.ts';

export interface LimiterParts {
  readonly shared: Buckets;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** How long the shared buckets may take to answer. */
  readonly deadlineMs: number;
}

const restMs = 1_000;

export function createLimiter({ shared, clock, telemetry, deadlineMs }: LimiterParts): Buckets {
  const local = createLocalBuckets(clock);
  let awayUntilMs = 0;
  return {
    async take(wanted) {
      if (clock.nowMs() >= awayUntilMs) {
        try {
          return await withinMs(clock, deadlineMs, shared.take(wanted));
        } catch {
          awayUntilMs = clock.nowMs() + restMs; // why does not matter: the edge's own buckets count now
        }
      }
      telemetry.count('setway_rate_limit_local_total', {});
      return local.take(wanted);
    },
  };
}
