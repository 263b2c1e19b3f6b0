import { forEachSet, type Job } from './run-job.ts';

/** A cron comes once a minute: end before the next one. */
const budget = { maxMs: 45_000, maxItems: 2_000 } as const;

/**
 * Delivers ordered messages whose turn it is: claims streams (lanes and sequences), assembles sequences whose deadline
 * has passed, tries failed items again, tells callbacks of gaps.
 */
export const assembleSequences: Job = {
  name: 'assemble-sequences',
  run: (parts) =>
    forEachSet(parts, (set) =>
      parts.visit(set, async (host) => {
        const delivered = await host.handleDue('order', budget);
        return delivered + (await host.handleDue('gap', budget));
      }),
    ),
};
