import { asProblem } from '../shared/problem.ts';
import type { HealthReport, Job, JobParts } from './run-job.ts';

/**
 * Looks at every SET and writes what it saw where edges read the catalog. A SET is up when its database answers: that
 * is all the accept path needs; a broker that is away only delays. With it goes how many messages a second it takes, by
 * which edges balance (shared/sets/load.ts). Also copies the catalog to SETs that lag behind.
 */
export const probeSets: Job = {
  name: 'probe-sets',
  async run(parts) {
    const { sets } = await parts.catalog.current();
    const reports = await Promise.all([...sets.keys()].map((set) => probe(parts, set)));
    await parts.reportHealth(reports);
    const copies = await parts.spreadCatalog();
    const failures = reports
      .filter(({ health }) => health === 'down')
      .map(({ set, detail }) => ({ set, detail }));
    return { handled: reports.length + copies, failures };
  },
};

async function probe(parts: JobParts, set: string): Promise<HealthReport> {
  try {
    const { broker, database, rate } = await parts.visit(set, (host) => host.status());
    if (database === 'down') return { set, health: 'down', detail: 'Its database does not answer.' };
    return { set, health: 'up', detail: `broker ${broker}`, rate };
  } catch (error) {
    return { set, health: 'down', detail: asProblem(error).message };
  }
}
