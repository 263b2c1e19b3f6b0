import { forEachSet, type Job } from './run-job.ts';

/** A cron comes once a minute: end before the next one. */
const budget = { maxMs: 45_000, maxItems: 2_000 } as const;

/**
 * Tries failed deliveries again when they fall due: claims `redeliver` entries, calls the webhook, records. Before it,
 * redrives take their next steps, which write such entries; after it, callbacks are told
 * of what has ended.
 */
export const redeliver: Job = {
  name: 'redeliver',
  run: (parts) =>
    forEachSet(parts, (set) =>
      parts.visit(set, async (host) => {
        const steps = await host.handleDue('redrive', budget);
        const tried = await host.handleDue('redeliver', budget);
        return steps + tried + (await host.handleDue('callback', budget));
      }),
    ),
};
