import { forEachSet, type Job } from './run-job.ts';

/** A cron comes once a minute: end before the next one. */
const budget = { maxMs: 45_000, maxItems: 2_000 } as const;

/** Asks producers what became of transactions they have not decided. */
export const checkTransactions: Job = {
  name: 'check-transactions',
  run: (parts) => forEachSet(parts, (set) => parts.visit(set, (host) => host.handleDue('check', budget))),
};
