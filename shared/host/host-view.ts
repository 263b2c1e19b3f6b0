/** What a host knows of the catalog: the subscriptions as they are for this SET, and RabbitMQ's shape after them. */
import type { Broker } from '../broker/broker.ts';
import type { CatalogSource } from '../catalog/catalog.ts';
import {
  isPushed,
  type PushedSubscription,
  type Subscription,
  type Topic,
} from '../subscriptions/subscription.ts';
import { planTopology } from '../topology/plan.ts';
import type { Register } from './register.ts';

export interface HostViewParts {
  readonly catalog: CatalogSource;
  readonly register: Register;
  readonly broker: Broker;
}

export interface HostView {
  /** The subscription as it was at the last refresh; `disabled` if this SET has stopped it by itself. */
  subscription(name: string): Subscription | undefined;
  topic(name: string): Topic | undefined;
  /** Those whose messages this host pushes to a webhook. */
  active(): readonly PushedSubscription[];
  /** The longest time one webhook call may take; 0 without subscriptions. */
  longestTimeoutMs(): number;
  /** Whether the catalog was read: before, every subscription looks unknown. */
  readonly isLoaded: boolean;
  /** Whether this host has declared the SET's topology. */
  readonly isDeclared: boolean;
  /**
   * Reads the catalog and, when it is a new version and the broker is there, declares its topology.
   * @throws Problem when the database or the broker fails: the last view stays
   */
  refresh(): Promise<void>;
  disable(name: string, reason: string): Promise<void>;
}

export function createHostView({ catalog: source, register, broker }: HostViewParts): HostView {
  let subscriptions: ReadonlyMap<string, Subscription> = new Map();
  let topics: ReadonlyMap<string, Topic> = new Map();
  let disabled: ReadonlySet<string> = new Set();
  let isLoaded = false;
  let declaredVersion = -1;

  const subscription = (name: string): Subscription | undefined => {
    const found = subscriptions.get(name);
    return found && disabled.has(name) ? { ...found, status: 'disabled' } : found;
  };

  return {
    subscription,
    topic: (name) => topics.get(name),
    get isLoaded() {
      return isLoaded;
    },
    get isDeclared() {
      return declaredVersion >= 0;
    },
    active: () =>
      [...subscriptions.keys()]
        .flatMap((name) => subscription(name) ?? [])
        .filter(isPushed)
        .filter(({ status }) => status === 'active'),
    longestTimeoutMs: () => Math.max(0, ...[...subscriptions.values()].map(({ timeoutMs }) => timeoutMs)),
    async refresh() {
      const catalog = await source.current();
      subscriptions = catalog.subscriptions;
      topics = catalog.topics;
      disabled = await register.disabled();
      isLoaded = true;
      if (broker.state === 'disconnected' || declaredVersion === catalog.version) return;
      await broker.provision(planTopology([...catalog.topics.values()], [...subscriptions.values()]));
      declaredVersion = catalog.version;
    },
    async disable(name, reason) {
      disabled = new Set([...disabled, name]);
      await register.disable(name, reason);
    },
  };
}
