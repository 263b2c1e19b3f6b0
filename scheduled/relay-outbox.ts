import { asProblem } from '../shared/problem.ts';
import { relayOutbox } from '../shared/outbox/relay.ts';
import type { Job } from './run-job.ts';

/** Rows of one outbox in one run: the next one comes in a minute. */
const maxRows = 5_000;

/** Publishes what users' transactions left in the outboxes that are registered in the catalog. */
export const relayOutboxes: Job = {
  name: 'relay-outbox',
  async run(parts) {
    const { outboxes } = await parts.catalog.current();
    const results = await Promise.allSettled(
      outboxes.map((each) =>
        relayOutbox(
          { ...parts, urls: parts.webhookPolicy, sql: parts.userDatabase(each.databaseUrl) },
          each,
          maxRows,
        ),
      ),
    );
    return {
      handled: results.reduce((sum, each) => sum + (each.status === 'fulfilled' ? each.value.taken : 0), 0),
      failures: results.flatMap((each, index) =>
        each.status === 'rejected'
          ? [{ set: `outbox ${outboxes[index]?.name ?? ''}`, detail: asProblem(each.reason).message }]
          : [],
      ),
    };
  },
};
