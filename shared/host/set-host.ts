/**
 * One SET alive: its connections, its group commit, its consumer loops, its clock. Written once, hosted by a Durable
 * Object, a Node process, or nothing long-lived at all (a cron function opens one, lets it work a little, stops it).
 *
 * Life: `open` dials the broker and may accept at once (accepting needs the database only); `start` adds consumption,
 * due work and the heartbeat; `stop` ends them in order: no new messages, webhook calls finished, confirms awaited,
 * channels closed, then connections.
 */
import type { AgendaKind, DueEntry } from '../agenda/agenda.ts';
import type { Broker } from '../broker/broker.ts';
import type { Catalog, CatalogSource } from '../catalog/catalog.ts';
import type { Clock } from '../clock.ts';
import type { Courier } from '../delivery/courier.ts';
import { createDeliverer, type Deliverer } from '../delivery/deliver.ts';
import { shardOf } from '../message/shard.ts';
import { createCommitter, type Committer } from '../publish/commit.ts';
import { sendMessages } from '../publish/send.ts';
import type { SetLink, SetStatus } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import { planTopology } from '../topology/plan.ts';
import { createConsumptions, type Consumptions } from './consumptions.ts';
import { startDueLoop, type DueLoop } from './due-loop.ts';
import type { Register } from './register.ts';

export interface SetHostParts {
  readonly set: string;
  /** Name of this host, unique among those alive: for timelines and the register. */
  readonly host: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly register: Register;
  readonly broker: Broker;
  readonly courier: Courier;
  readonly catalog: CatalogSource;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly timing: SetHostTiming;
}

export interface SetHostTiming {
  readonly confirmTimeoutMs: number;
  readonly resendAfterMs: number;
  readonly maxSendAttempts: number;
  readonly heartbeatMs: number;
  /** How often the catalog is looked at for changes. */
  readonly reconcileMs: number;
  readonly stopGraceMs: number;
}

/** How much a short-lived host may do. */
export interface Budget {
  readonly maxMs: number;
  readonly maxItems: number;
}

export interface SetHost extends SetLink {
  /** Begins to consume, to do due work, and to beat. Safe to call twice. */
  start(): void;
  /** Looks at the catalog and the broker now instead of at the next turn. Never rejects. */
  reconcile(): Promise<void>;
  /** Claims and handles due work of one kind, without `start`. Returns how many entries. */
  handleDue(kind: AgendaKind, budget: Budget): Promise<number>;
  /** Consumes for at most a while or a number of deliveries, then stops cleanly: the one primitive of consumption. */
  shift(budget: Budget): Promise<number>;
  stop(): Promise<void>;
}

/** Longer than any webhook call plus the wait for a slot. */
const redeliverLeaseMs = 330_000;
/** Others write due work too (crons, other hosts): look at least this often. */
const idleMs = 15_000;

export function openSetHost(parts: SetHostParts): SetHost {
  const { set, broker, clock, timing } = parts;
  let catalog: Catalog | undefined;
  let disabled: ReadonlySet<string> = new Set();
  let provisioned = -1;
  let loops: readonly DueLoop[] = [];
  let cancelBeat = (): void => undefined;
  let cancelReconcile = (): void => undefined;
  let isStarted = false;
  let isStopped = false;
  let taken = 0;

  const subscription = (name: string): Subscription | undefined => {
    const found = catalog?.subscriptions.get(name);
    return found && disabled.has(name) ? { ...found, status: 'disabled' } : found;
  };
  const sendParts = {
    set,
    broker,
    telemetry: parts.telemetry,
    confirmTimeoutMs: timing.confirmTimeoutMs,
    maxAttempts: timing.maxSendAttempts,
  };
  const committer: Committer = createCommitter({
    ...sendParts,
    stores: parts.stores,
    clock,
    resendAfterMs: timing.resendAfterMs,
  });
  const deliverer: Deliverer = createDeliverer({
    ...parts,
    subscription,
    disable: async (name, reason) => {
      disabled = new Set([...disabled, name]);
      await parts.register.disable(name, reason);
      void reconcile();
    },
    onRetry: (afterMs) => nudge(afterMs),
  });
  const consumptions: Consumptions = createConsumptions({
    broker,
    clock,
    graceMs: timing.stopGraceMs,
    take: (delivery, name) => {
      taken++;
      deliverer.take(delivery, name);
    },
  });

  const nudge = (afterMs: number): void => {
    for (const loop of loops) loop.nudge(afterMs);
  };

  const resend = async (store: Store, entries: readonly DueEntry[]): Promise<void> => {
    const loaded = await store.load(entries.flatMap((entry) => entry.refs));
    const ready = new Map(
      loaded.filter(({ state }) => state === 'READY').map(({ message }) => [message.id, message]),
    );
    await Promise.all(
      entries.map(async (entry) => {
        const messages = entry.refs.flatMap((id) => ready.get(id) ?? []);
        if (messages.length === 0) await store.finish([entry]);
        else await sendMessages(sendParts, store, { lease: entry, messages, attempts: entry.attempts });
      }),
    );
  };

  const handlers: Readonly<
    Record<AgendaKind, (store: Store, entries: readonly DueEntry[]) => Promise<void>>
  > = {
    send: resend,
    redeliver: (store, entries) => deliverer.redeliver(store, entries),
  };
  /** Entries under way at once; an entry of kind `send` holds up to 500 messages. */
  const capacities: Readonly<Record<AgendaKind, number>> = { send: 4, redeliver: 200 };
  const leaseMsOf = (kind: AgendaKind): number =>
    kind === 'send' ? timing.confirmTimeoutMs + timing.resendAfterMs : redeliverLeaseMs;
  const isReady = (kind: AgendaKind): boolean => kind !== 'send' || broker.state === 'connected';

  const provision = async (): Promise<void> => {
    catalog = await parts.catalog.current();
    disabled = await parts.register.disabled();
    if (broker.state === 'disconnected' || provisioned === catalog.version) return;
    await broker.provision(planTopology([...catalog.topics.values()], [...catalog.subscriptions.values()]));
    provisioned = catalog.version;
  };

  const reconcile = async (): Promise<void> => {
    try {
      await provision();
      if (!isStarted || isStopped) return;
      const active = [...(catalog?.subscriptions.keys() ?? [])].flatMap((name) => subscription(name) ?? []);
      await consumptions.reconcile(active.filter(({ status }) => status === 'active'));
    } catch {
      // The database or the broker is away: the next turn tries again.
    }
  };

  const reconcileForEver = (): void => {
    void reconcile().then(() => {
      if (!isStopped) cancelReconcile = clock.after(timing.reconcileMs, reconcileForEver);
    });
  };

  const beatForEver = (): void => {
    parts.telemetry.set('setway_broker_state', { set }, brokerGauge[broker.state]);
    // A beat that is lost makes the host look dead: others then help, which does no harm.
    void parts.register.beat(broker.state).catch(() => undefined);
    if (!isStopped) cancelBeat = clock.after(timing.heartbeatMs, beatForEver);
  };

  const stopListening = broker.onState((state) => {
    parts.telemetry.set('setway_broker_state', { set }, brokerGauge[state]);
    if (state === 'connected' && isStarted) void reconcile().then(() => nudge(0));
  });

  return {
    accept: (offers, options) => committer.accept(offers, options),
    find: async (id) => parts.stores[shardOf(id, parts.stores.length)]?.find(id),
    async status(): Promise<SetStatus> {
      const database = await parts.register.disabled().then(
        () => 'up' as const,
        () => 'down' as const,
      );
      const metrics = parts.telemetry.snapshot();
      return {
        set,
        host: parts.host,
        broker: broker.state,
        database,
        unconfirmed: committer.unsettled,
        metrics,
      };
    },
    start() {
      if (isStarted) return;
      isStarted = true;
      loops = parts.stores.flatMap((store) =>
        (['send', 'redeliver'] as const).map((kind) =>
          startDueLoop({
            ...parts,
            store,
            kind,
            idleMs,
            capacity: capacities[kind],
            leaseMs: leaseMsOf(kind),
            isReady: () => isReady(kind),
            handle: (entries) => handlers[kind](store, entries),
          }),
        ),
      );
      reconcileForEver();
      beatForEver();
    },
    reconcile,
    async handleDue(kind, budget) {
      await provision();
      const endMs = clock.nowMs() + budget.maxMs;
      let handled = 0;
      for (const store of parts.stores) {
        while (isReady(kind) && handled < budget.maxItems && clock.nowMs() < endMs) {
          const limit = Math.min(capacities[kind], budget.maxItems - handled);
          const entries = await store.claim({ set, kind, limit, leaseMs: leaseMsOf(kind) });
          if (entries.length === 0) break;
          await handlers[kind](store, entries);
          handled += entries.length;
        }
      }
      return handled;
    },
    async shift(budget) {
      const from = taken;
      isStarted = true;
      await reconcile();
      await waitUntil(clock, budget.maxMs, () => taken - from >= budget.maxItems);
      await consumptions.stop(timing.stopGraceMs);
      return taken - from;
    },
    async stop() {
      if (isStopped) return;
      isStopped = true;
      cancelBeat();
      cancelReconcile();
      stopListening();
      await Promise.all([consumptions.stop(timing.stopGraceMs), ...loops.map((loop) => loop.stop())]);
      await committer.idle();
      await broker.close();
      // Without it the register forgets the host by itself a little later.
      await parts.register.leave().catch(() => undefined);
    },
  };
}

const brokerGauge = { connected: 1, blocked: 0.5, disconnected: 0 } as const;

/** A shift looks this often whether it has done enough. */
const shiftTickMs = 50;

async function waitUntil(clock: Clock, maxMs: number, isEnough: () => boolean): Promise<void> {
  const endMs = clock.nowMs() + maxMs;
  while (!isEnough() && clock.nowMs() < endMs) {
    await new Promise<void>((resolve) => clock.after(shiftTickMs, resolve));
  }
}
