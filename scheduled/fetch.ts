import { forEachSet, type Job } from './run-job.ts';

/** A shift of a cron function: short enough for the strictest platform's limit. */
const budget = { maxMs: 20_000, maxItems: 5_000 } as const;

/** Fetch compensation: where no host of a SET lives, consumes its queues for a bounded shift. */
export const fetchWaiting: Job = {
  name: 'fetch',
  run: (parts) =>
    forEachSet(parts, async (set) => {
      const databases = await parts.databases(set);
      if ((await databases.liveHosts()) > 0) return 0;
      return parts.visit(set, (host) => host.shift(budget));
    }),
};
