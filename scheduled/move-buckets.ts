import { driveMoves } from '../shared/fleet/move-buckets.ts';
import type { Job } from './run-job.ts';

/** A cron comes once a minute: end before the next one. */
const maxMs = 40_000;

/** Goes on with moves of buckets whose mover has died, and gives up those whose time is over. */
export const moveBuckets: Job = {
  name: 'move-buckets',
  async run({ catalog, moves }) {
    // By this copy of the catalog, so that nobody asks the center for nothing.
    const known = (await catalog.current()).moves ?? [];
    return { handled: known.length === 0 ? 0 : await driveMoves(moves, { maxMs }), failures: [] };
  },
};
