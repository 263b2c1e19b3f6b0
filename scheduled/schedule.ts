/**
 * Which cron expression runs which jobs: the one table for `wrangler.toml` (a test compares them) and for Node. Jobs
 * of one expression run side by side.
 */
import { assembleSequences } from './assemble-sequences.ts';
import { checkTransactions } from './check-transactions.ts';
import { audit } from './audit.ts';
import { endCopies } from './end-copies.ts';
import { fetchWaiting } from './fetch.ts';
import { moveBuckets } from './move-buckets.ts';
import { probeSets } from './probe-sets.ts';
import { prune } from './prune.ts';
import { reconcileTopology } from './reconcile-topology.ts';
import { redeliver } from './redeliver.ts';
import { releaseDelayed } from './release-delayed.ts';
import { relayOutboxes } from './relay-outbox.ts';
import { replicate } from './replicate.ts';
import { republish } from './republish.ts';
import type { Job } from './run-job.ts';
import { runDueSchedules } from './run-schedules.ts';
import { takeOverDead } from './take-over.ts';

export interface CronEntry {
  /** Five fields, UTC. */
  readonly cron: string;
  /** The same for a host that has a timer instead of a cron table. */
  readonly everyMs: number;
  readonly jobs: readonly Job[];
}

export const schedule: readonly CronEntry[] = [
  {
    cron: '* * * * *',
    everyMs: 60_000,
    jobs: [
      republish,
      releaseDelayed,
      redeliver,
      assembleSequences,
      checkTransactions,
      relayOutboxes,
      runDueSchedules,
      fetchWaiting,
      probeSets,
      replicate,
      reconcileTopology,
      moveBuckets,
      audit,
      endCopies,
      takeOverDead,
    ],
  },
  { cron: '17 3 * * *', everyMs: 86_400_000, jobs: [prune] },
];

/** @example jobsOf('* * * * *') */
export function jobsOf(cron: string): readonly Job[] {
  return schedule.find((entry) => entry.cron === cron)?.jobs ?? [];
}
