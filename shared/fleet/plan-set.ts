/** Looks at a SET and says what would change. Reads only. */
import { missingFederation } from './apply-federation.ts';
import { planTopology } from '../topology/plan.ts';
import type { Management } from '../topology/management.ts';
import { shapeOf, type BrokerShape } from './broker-shape.ts';
import { driftOf, type Change, type FoundBroker } from './drift.ts';
import { managementOf, type FleetParts, type FoundSet } from './fleet.ts';

export interface SetPlan {
  readonly set: string;
  readonly shape: BrokerShape;
  readonly changes: readonly Change[];
}

/** A queue has statistics 5 s after it was declared, and the node collects them every 5 s. */
const statisticsLagMs = 12_000;
const lookEveryMs = 500;

/**
 * @param pace `thorough` waits some seconds when queues have no statistics: they are new, or lost
 * @throws Problem when the management API or a database does not answer
 */
export async function planSet(
  parts: FleetParts,
  found: FoundSet,
  pace: 'thorough' | 'quick' = 'thorough',
): Promise<SetPlan> {
  const management = managementOf(parts, found.entry);
  const [shape, databases, federation] = await Promise.all([
    wantedShape(management, found),
    databaseDrift(parts, found),
    federationDrift(management, found),
  ]);
  const endMs = parts.clock.nowMs() + (pace === 'thorough' ? statisticsLagMs : 0);
  let broker = await look(management, shape);
  while (lacksStatistics(shape, broker) && parts.clock.nowMs() < endMs) {
    await new Promise<void>((resolve) => void parts.clock.after(lookEveryMs, resolve));
    broker = await look(management, shape);
  }
  if (pace === 'thorough') broker = { ...broker, statistics: 'settled' };
  return { set: found.entry.id, shape, changes: [...driftOf(shape, broker), ...federation, ...databases] };
}

/** Links to other SETs; see shared/fleet/federation.ts. */
async function federationDrift(
  management: Management,
  { entry, catalog }: FoundSet,
): Promise<readonly Change[]> {
  const steps = await missingFederation(management, { catalog, set: entry.id });
  return steps.map((step) => ({
    what: 'federation',
    op: step.do === 'put' ? 'change' : 'remove',
    name: `${step.kind} ${step.do === 'put' ? step.entry.name : step.name}`,
  }));
}

function lacksStatistics({ topology }: BrokerShape, { queues }: FoundBroker): boolean {
  const silent = new Set(queues.filter(({ state }) => state === undefined).map(({ name }) => name));
  return topology.queues.some(({ name }) => silent.has(name));
}

export async function wantedShape(
  management: Management,
  { entry, catalog }: Pick<FoundSet, 'entry' | 'catalog'>,
): Promise<BrokerShape> {
  const [{ features }, nodes] = await Promise.all([management.overview(), management.nodes()]);
  const topology = planTopology([...catalog.topics.values()], [...catalog.subscriptions.values()]);
  return shapeOf(entry, topology, { features, nodes: nodes.length });
}

/** What is there of a shape. */
export async function look(
  management: Management,
  { vhost, user }: Pick<BrokerShape, 'vhost' | 'user'>,
): Promise<FoundBroker> {
  const [there, found, nodes] = await Promise.all([
    management.vhosts.find(vhost),
    user && management.users.find(user.name),
    management.nodes(),
  ]);
  const known = {
    isThere: there !== undefined,
    nodes,
    statistics: 'young' as const,
    ...(user === undefined
      ? {}
      : {
          user: {
            isThere: found !== undefined,
            isPasswordWrong: found?.hasPassword(user.password) === false,
          },
        }),
  };
  if (!there)
    return {
      ...known,
      limits: {},
      policies: [],
      operatorPolicies: [],
      exchanges: [],
      queues: [],
      bindings: [],
    };
  const [limits, policies, operatorPolicies, exchanges, queues, bindings, permissions] = await Promise.all([
    management.vhosts.limits(vhost),
    management.policies.list(vhost),
    management.operatorPolicies.list(vhost),
    management.exchanges.list(vhost),
    management.queues.list(vhost),
    management.bindings.list(vhost),
    user && management.users.permissions(vhost, user.name),
  ]);
  return { ...known, limits, policies, operatorPolicies, exchanges, queues, bindings, permissions };
}

async function databaseDrift(
  { database }: FleetParts,
  { entry, catalog }: FoundSet,
): Promise<readonly Change[]> {
  const changes = await Promise.all(
    entry.databaseUrls.map(async (url, shard): Promise<readonly Change[]> => {
      const one = database(url);
      const { at } = one;
      const lacking = await one.missing();
      const migrations = lacking.length === 0 ? [] : [lacks(at, lacking)];
      if (shard > 0) return migrations;
      // A database without its tables has no copy of the catalog either.
      const version = lacking.length > 0 ? 0 : await one.snapshotVersion();
      const detail = `version ${version} → ${catalog.version}`;
      return version >= catalog.version
        ? migrations
        : [...migrations, { what: 'snapshot', op: 'change', name: at, detail }];
    }),
  );
  return changes.flat();
}

function lacks(at: string, migrations: readonly string[]): Change {
  return { what: 'database', op: 'change', name: at, detail: `migrate ${migrations.join(', ')}` };
}
