/** What a host knows of the catalog: the subscriptions as they are for this SET, and RabbitMQ's shape after them. */
import type { Broker } from '../broker/broker.ts';
import type { CatalogSource } from '../catalog/catalog.ts';
import {
  isPushed,
  type PushedSubscription,
  type Subscription,
  type Topic,
} from '../subscriptions/subscription.ts';
import type { Register } from './register.ts';
import { createTopologyKeeper } from './topology-keeper.ts';

export interface HostViewParts {
  readonly catalog: CatalogSource;
  readonly register: Register;
  readonly broker: Broker;
}

export interface HostView {
  /** The subscription as it was at the last refresh; `disabled` if this SET has stopped it by itself. */
  readonly subscription: (name: string) => Subscription | undefined;
  topic(name: string): Topic | undefined;
  /** Since when a subscription is there, in Unix milliseconds by this SET's database; 0 for ever. */
  subscribedSinceMs(name: string): number;
  /** Those whose messages this host pushes to a webhook. */
  active(): readonly PushedSubscription[];
  /** Active ones whose messages leave a record here: what is pushed, and what is pulled. */
  recorded(): readonly Subscription[];
  /** The longest time one webhook call may take; 0 without subscriptions. */
  longestTimeoutMs(): number;
  /** Of the catalog; −1 before it was read. */
  readonly version: number;
  /** Whether the catalog was read: before, every subscription looks unknown. */
  readonly isLoaded: boolean;
  /** Whether this host has declared the SET's topology. */
  readonly isDeclared: boolean;
  /**
   * Reads the catalog and, while the broker is there, brings the topology to it.
   * @throws Problem when the database or the broker fails: the last view stays
   */
  refresh(): Promise<void>;
  disable(name: string, reason: string): Promise<void>;
  enable(name: string): Promise<void>;
}

export function createHostView({ catalog: source, register, broker }: HostViewParts): HostView {
  let subscriptions: ReadonlyMap<string, Subscription> = new Map();
  let topics: ReadonlyMap<string, Topic> = new Map();
  let disabled: ReadonlySet<string> = new Set();
  const topology = createTopologyKeeper({ broker, register });
  let since: ReadonlyMap<string, number> = new Map();
  let sinceVersion = -1;
  let isLoaded = false;
  let known = -1;

  /** Asked for again while this SET's own copy of the catalog lacks one of its subscriptions. */
  const learnSince = async (version: number): Promise<void> => {
    if (version === sinceVersion && [...subscriptions.keys()].every((name) => since.has(name))) return;
    since = await register.subscribedSince();
    sinceVersion = version;
  };

  const subscription = (name: string): Subscription | undefined => {
    const found = subscriptions.get(name);
    return found && disabled.has(name) ? { ...found, status: 'disabled' } : found;
  };

  return {
    subscription,
    topic: (name) => topics.get(name),
    subscribedSinceMs: (name) => since.get(name) ?? 0,
    get version() {
      return known;
    },
    get isLoaded() {
      return isLoaded;
    },
    get isDeclared() {
      return topology.isDeclared;
    },
    active: () =>
      [...subscriptions.keys()]
        .flatMap((name) => subscription(name) ?? [])
        .filter(isPushed)
        .filter(({ status }) => status === 'active'),
    recorded: () =>
      [...subscriptions.keys()]
        .flatMap((name) => subscription(name) ?? [])
        .filter(({ kind, status }) => kind !== 'amqp' && status === 'active'),
    longestTimeoutMs: () => Math.max(0, ...[...subscriptions.values()].map(({ timeoutMs }) => timeoutMs)),
    async refresh() {
      const catalog = await source.current();
      subscriptions = catalog.subscriptions;
      topics = catalog.topics;
      disabled = new Set((await register.disabled()).keys());
      await learnSince(catalog.version);
      isLoaded = true;
      known = catalog.version;
      await topology.follow(catalog);
    },
    async disable(name, reason) {
      disabled = new Set([...disabled, name]);
      await register.disable(name, reason);
    },
    async enable(name) {
      await register.enable(name);
      disabled = new Set([...disabled].filter((each) => each !== name));
    },
  };
}
