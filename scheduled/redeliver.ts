import { forEachSet, type Job } from './run-job.ts';

/** A cron comes once a minute: end before the next one. */
const budget = { maxMs: 45_000, maxItems: 2_000 } as const;

/** Tries failed deliveries again when they fall due: claims `redeliver` entries, calls the webhook, records. */
export const redeliver: Job = {
  name: 'redeliver',
  run: (parts) => forEachSet(parts, (set) => parts.visit(set, (host) => host.handleDue('redeliver', budget))),
};
