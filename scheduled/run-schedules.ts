import { forEachSet, type Job } from './run-job.ts';

const maxItems = 5_000;

/**
 * Publishes the messages of schedules whose tick has come. Where a host lives it only takes what that host has left;
 * where none does it stays, and publishes each at its tick.
 */
export function runSchedulesWithin(maxMs: number): Job {
  return {
    name: 'run-schedules',
    run: (parts) =>
      forEachSet(parts, async (set) => {
        const databases = await parts.databases(set);
        const whenDry = (await databases.liveHosts()) > 0 ? 'leave' : 'stay';
        return parts.visit(set, (host) => host.handleDue('schedule', { maxMs, maxItems, whenDry }));
      }),
  };
}

/** A cron comes once a minute: until the next one is there. */
export const runDueSchedules = runSchedulesWithin(55_000);
