import { forEachSet, type Job } from './run-job.ts';

const maxItems = 1_000_000;

/**
 * Sends scheduled messages when they fall due: claims `release` entries, makes READY what is due, publishes. Where a
 * host lives it only takes what that host has left; where none does it stays, and sends each at its time.
 */
export function releaseWithin(maxMs: number): Job {
  return {
    name: 'release-delayed',
    run: (parts) =>
      forEachSet(parts, async (set) => {
        const databases = await parts.databases(set);
        const whenDry = (await databases.liveHosts()) > 0 ? 'leave' : 'stay';
        return parts.visit(set, (host) => host.handleDue('release', { maxMs, maxItems, whenDry }));
      }),
  };
}

/** A cron comes once a minute: until the next one is there. */
export const releaseDelayed = releaseWithin(55_000);
