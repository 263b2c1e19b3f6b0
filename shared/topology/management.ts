/**
 * The contract of RabbitMQ's management: what a control plane may see and change of one cluster. Everything is named, and
 * every change may be repeated: what is so already stays, what is gone already is fine.
 *
 * Counts of messages are as old as the node's statistics (seconds). Who must know exactly asks over AMQP (`Broker.depths`).
 *
 * Source: https://www.rabbitmq.com/docs/management#http-api, and `/api/index.html` of a node.
 */
import type { BrokerFeatures } from './broker-features.ts';

export interface Permissions {
  /** Regular expressions over names: what may be declared, published to, and consumed. Empty: nothing. */
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** Absent: no limit. */
export interface VhostLimits {
  readonly maxConnections?: number;
  readonly maxQueues?: number;
}

type Arguments = Readonly<Record<string, unknown>>;

export interface FoundVhost {
  readonly name: string;
  /** Who made it, as whoever made it said. */
  readonly description: string;
}

export interface FoundUser {
  readonly name: string;
  readonly tags: readonly string[];
  /** Whether this is its password; `unknown` when it is kept in a way nobody knows here. */
  readonly hasPassword: (password: string) => boolean | 'unknown';
}

export interface FoundExchange {
  readonly name: string;
  readonly type: string;
  readonly arguments: Arguments;
}

export interface FoundQueue {
  readonly name: string;
  readonly arguments: Arguments;
  /** `running`, `idle`, `down`, `crashed`, `stopped`, `minority`…; absent while nothing is known. */
  readonly state?: string;
  /** Node of the leader of a quorum queue; absent: nobody leads it, so it takes and gives nothing. */
  readonly leader?: string;
  readonly members: readonly string[];
  readonly online: readonly string[];
  /** Ready and handed out, as old as the statistics. */
  readonly messages: number;
  readonly consumers: number;
  /** The policies that hold for it. */
  readonly policy?: string;
  readonly operatorPolicy?: string;
}

export interface FoundBinding {
  /** Exchange; `''` is the default exchange, which binds every queue by its name. */
  readonly source: string;
  readonly destination: string;
  readonly destinationType: 'queue' | 'exchange';
  readonly bindingKey: string;
  readonly arguments: Arguments;
  /** Names this binding among those of the same two. */
  readonly propertiesKey: string;
}

export type PolicyTarget = 'all' | 'queues' | 'exchanges' | 'quorum_queues' | 'classic_queues' | 'streams';

export interface Policy {
  readonly name: string;
  /** Regular expression over names. */
  readonly pattern: string;
  readonly applyTo: PolicyTarget;
  /** Of several that match, the highest alone holds. */
  readonly priority: number;
  readonly definition: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

/** A runtime parameter: a federation upstream, an upstream set, a shovel. The URIs in it hold passwords. */
export interface Parameter {
  readonly name: string;
  readonly value: unknown;
}

export type ParameterComponent = 'federation-upstream' | 'federation-upstream-set' | 'shovel';

export interface FederationLink {
  readonly upstream: string;
  readonly type: 'exchange' | 'queue';
  /** Of the downstream exchange or queue. */
  readonly name: string;
  /** `starting`, `running`, `error`, `shutdown`. */
  readonly status: string;
  readonly error?: string;
  /** When it came into this status, as RabbitMQ says it. */
  readonly since?: string;
}

export interface ShovelLink {
  readonly name: string;
  /** `starting`, `running`, `terminated`. */
  readonly state: string;
  readonly reason?: string;
}

export interface BrokerOverview {
  readonly version: string;
  readonly clusterName: string;
  readonly features: BrokerFeatures;
}

export interface FoundNode {
  readonly name: string;
  readonly isRunning: boolean;
  /** Memory, disk: one that is on stops all who publish. */
  readonly alarms: readonly ('memory' | 'disk')[];
  /** Nodes it does not see any more since a partition, until somebody restarts it. */
  readonly partitions: readonly string[];
}

export interface DefinedExchange {
  readonly name: string;
  readonly type: string;
}

export interface DefinedQueue {
  readonly name: string;
  readonly arguments: Arguments;
}

export interface DefinedBinding {
  readonly exchange: string;
  readonly queue: string;
  readonly bindingKey: string;
}

/** Durable things of one vhost, made in one call. */
export interface Definitions {
  readonly exchanges: readonly DefinedExchange[];
  readonly queues: readonly DefinedQueue[];
  readonly bindings: readonly DefinedBinding[];
}

/** Every call throws a Problem whose text names the remedy and never a credential. */
export interface Management {
  overview(): Promise<BrokerOverview>;
  nodes(): Promise<readonly FoundNode[]>;
  /** What is not well now, in words: alarms, partitions, nodes and vhosts that are down. Empty: all is well. */
  ailments(): Promise<readonly string[]>;
  readonly vhosts: {
    find(vhost: string): Promise<FoundVhost | undefined>;
    put(vhost: string, description: string): Promise<void>;
    /** With everything in it. */
    remove(vhost: string): Promise<void>;
    limits(vhost: string): Promise<VhostLimits>;
    /** Sets what is given, takes away what is not. */
    limit(vhost: string, limits: VhostLimits): Promise<void>;
  };
  readonly users: {
    find(user: string): Promise<FoundUser | undefined>;
    /** Sets the password, and no tags: such a user has no part in management. */
    put(user: string, password: string): Promise<void>;
    remove(user: string): Promise<void>;
    permissions(vhost: string, user: string): Promise<Permissions | undefined>;
    permit(vhost: string, user: string, permissions: Permissions): Promise<void>;
  };
  readonly exchanges: {
    list(vhost: string): Promise<readonly FoundExchange[]>;
    remove(vhost: string, exchange: string): Promise<void>;
  };
  readonly queues: {
    list(vhost: string): Promise<readonly FoundQueue[]>;
    remove(vhost: string, queue: string): Promise<void>;
  };
  readonly bindings: {
    list(vhost: string): Promise<readonly FoundBinding[]>;
    remove(
      vhost: string,
      binding: Pick<FoundBinding, 'source' | 'destination' | 'destinationType' | 'propertiesKey'>,
    ): Promise<void>;
  };
  /** Declares what is missing; what is there stays as it is, whatever its arguments. */
  define(vhost: string, definitions: Definitions): Promise<void>;
  readonly policies: PolicyCalls;
  /** Above the others: they bound what a policy or an argument may ask for. */
  readonly operatorPolicies: PolicyCalls;
  readonly parameters: {
    list(component: ParameterComponent, vhost: string): Promise<readonly Parameter[]>;
    put(component: ParameterComponent, vhost: string, parameter: Parameter): Promise<void>;
    remove(component: ParameterComponent, vhost: string, name: string): Promise<void>;
  };
  readonly links: {
    /** @throws Problem `invalid-settings` when the plugin rabbitmq_federation_management is off */
    federation(vhost: string): Promise<readonly FederationLink[]>;
    /** @throws Problem `invalid-settings` when the plugin rabbitmq_shovel_management is off */
    shovels(vhost: string): Promise<readonly ShovelLink[]>;
  };
}

export interface PolicyCalls {
  list(vhost: string): Promise<readonly Policy[]>;
  put(vhost: string, policy: Policy): Promise<void>;
  remove(vhost: string, name: string): Promise<void>;
}
