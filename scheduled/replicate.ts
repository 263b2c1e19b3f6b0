/**
 * Keeps the federation of every SET's RabbitMQ as the catalog says (shared/fleet/federation.ts), also when a topic stops
 * replicating or a SET is gone, and lets held copies go whose time is over.
 */
import type { Catalog } from '../shared/catalog/catalog.ts';
import { asProblem, Problem } from '../shared/problem.ts';
import {
  applyFederation,
  identityOf,
  refuseTwins,
  vhostIn,
  type SetIdentity,
} from '../shared/fleet/apply-federation.ts';
import { planFederation } from '../shared/fleet/federation.ts';
import type { Management } from '../shared/topology/management.ts';
import { forEachSet, type Job, type JobParts, type JobResult } from './run-job.ts';

/** Copies of one statement. */
const dropLimit = 10_000;
/** A cron comes once a minute: the next one goes on. */
const maxDrops = 20;

export const replicate: Job = {
  name: 'replicate',
  async run(parts) {
    const catalog = await parts.catalog.current();
    refuseTwins(await identitiesOf(parts, catalog));
    const federated = await oneByOne([...catalog.sets.keys()], (set) => federate(parts, catalog, set));
    const dropped = await forEachSet(parts, (set) => dropOldHeld(parts, set));
    return {
      handled: federated.handled + dropped.handled,
      failures: [...federated.failures, ...dropped.failures],
    };
  },
};

/** SETs may share a broker. */
async function oneByOne(sets: readonly string[], work: (set: string) => Promise<number>): Promise<JobResult> {
  let handled = 0;
  const failures: JobResult['failures'][number][] = [];
  for (const set of sets) {
    try {
      handled += await work(set);
    } catch (error) {
      failures.push({ set, detail: asProblem(error).message });
    }
  }
  return { handled, failures };
}

/** Of the SETs that take part and answer: two that do not are looked at when they do. */
async function identitiesOf(parts: JobParts, catalog: Catalog): Promise<ReadonlyMap<string, SetIdentity>> {
  const members = [...catalog.sets.keys()].filter((set) => isMember(catalog, set));
  const known = await Promise.all(
    members.map(async (set) => {
      const client = managementOf(parts, catalog, set);
      const identity = client && (await identityOf(client, vhostIn(catalog, set)).catch(() => undefined));
      return identity === undefined ? [] : ([[set, identity]] as const);
    }),
  );
  return new Map(known.flat());
}

function isMember(catalog: Catalog, set: string): boolean {
  return planFederation(catalog, set).policies.length > 0;
}

/** Undefined: its RabbitMQ is looked after by hand. */
function managementOf({ fleet }: JobParts, { access }: Catalog, set: string): Management | undefined {
  const url = access.get(set)?.managementUrl;
  return url === undefined ? undefined : fleet.management(url);
}

/** @returns how many steps */
async function federate(parts: JobParts, catalog: Catalog, set: string): Promise<number> {
  const client = managementOf(parts, catalog, set);
  if (client) return (await applyFederation(client, { catalog, set })).length;
  if (!isMember(catalog, set)) return 0;
  throw new Problem('invalid-settings', noManagement);
}

const noManagement = 'It takes part in federation and has no managementUrl: add it to the SET.';

async function dropOldHeld(parts: JobParts, set: string): Promise<number> {
  const { stores } = await parts.databases(set);
  const dropped = await Promise.all(
    stores.map(async (store) => {
      let total = 0;
      for (let n = 0; n < maxDrops; n++) {
        const gone = await store.dropOldHeld(dropLimit);
        total += gone;
        if (gone < dropLimit) break;
      }
      return total;
    }),
  );
  return dropped.reduce((sum, each) => sum + each, 0);
}
