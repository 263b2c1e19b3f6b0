import { forEachSet, type Job } from './run-job.ts';

/** A cron comes once a minute: end before the next one. */
const budget = { maxMs: 45_000, maxItems: 200 } as const;

/** Sends again what the broker never confirmed: claims `send` entries, publishes under the same ids, settles. */
export const republish: Job = {
  name: 'republish',
  run: (parts) => forEachSet(parts, (set) => parts.visit(set, (host) => host.handleDue('send', budget))),
};
