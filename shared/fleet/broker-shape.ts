/**
 * What the RabbitMQ of one SET should be: the vhost and who may do what in it, limits and policies, exchanges, queues and
 * bindings. Pure. Of a vhost that was given only the inside is ours: its users, permissions and limits stay as they are.
 */
import type { SetEntry } from '../catalog/document.ts';
import type { BrokerFeatures } from '../topology/broker-features.ts';
import type { Permissions, Policy, VhostLimits } from '../topology/management.ts';
import type { Topology } from '../topology/plan.ts';
import { loginOf } from './broker-url.ts';

export interface BrokerShape {
  readonly vhost: string;
  /** What the vhost says of itself; only of a managed one. */
  readonly description?: string;
  readonly user?: ManagedUser;
  readonly limits?: VhostLimits;
  readonly policies: readonly Policy[];
  readonly operatorPolicies: readonly Policy[];
  readonly topology: Topology;
}

export interface ManagedUser {
  readonly name: string;
  readonly password: string;
  readonly permissions: Permissions;
}

/** Tells a vhost that Setway made from everybody else's. */
export function descriptionOf(set: string): string {
  return `Setway SET ${set}`;
}

/**
 * Only its own names, and those federation declares beside an exchange at the upstream. Moving messages from one queue to
 * another goes through the default exchange. No tags, so no management.
 */
const permissions: Permissions = {
  configure: '^(setway\\.|federation: )',
  write: '^(setway\\.|federation: |amq\\.default$)',
  read: '^(setway\\.|federation: )',
};

/** Two connections per host and native clients beside: a client that leaks them ends here and not in the node's memory. */
const maxConnections = 2_000;
/** Two per subscription of a full catalog, and as many that wait for their end. */
const maxQueues = 40_000;

/** As in the queues' arguments, for queues that have none: 4.x would give up after 20 and drop. */
const deliveryLimit = 100;
/**
 * Nobody needs more in one queue than disks hold: full, it refuses, and messages stay READY in the database. Ten million
 * of 1 KB are 10 GB. Bounds only what subscriptions read, whose queues refuse; the dead-letter queue would drop.
 */
const maxLength = 10_000_000;
/** Members of a quorum queue where there are as many nodes. */
const groupSize = 3;

export interface Surroundings {
  readonly features: BrokerFeatures;
  readonly nodes: number;
}

/** @param entry opened: its URLs in clear */
export function shapeOf(entry: SetEntry, topology: Topology, { features, nodes }: Surroundings): BrokerShape {
  const { vhost, user, password } = loginOf(entry.brokerUrls[0] ?? '');
  const applyTo = features.policiesByQueueType ? 'quorum_queues' : 'queues';
  const managed = {
    description: descriptionOf(entry.id),
    user: { name: user, password, permissions },
    limits: { maxConnections, maxQueues },
  };
  return {
    vhost,
    ...(entry.access === 'managed' ? managed : {}),
    policies: [
      {
        name: 'setway-queues',
        pattern: '^setway\\.',
        applyTo,
        priority: 0,
        definition: {
          'delivery-limit': deliveryLimit,
          ...(features.targetGroupSize && nodes >= groupSize ? { 'target-group-size': groupSize } : {}),
        },
      },
    ],
    operatorPolicies: [
      {
        name: 'setway-guard',
        pattern: '^setway\\.(high\\.)?sub\\.',
        applyTo,
        priority: 0,
        definition: { 'max-length': maxLength },
      },
    ],
    topology,
  };
}
