/**
 * One SET alive: its connections, its group commit, its consumer loops, its clock. Written once, hosted by a Durable
 * Object, a Node process, or nothing long-lived at all (a cron function opens one, lets it work a little, stops it).
 *
 * Life: `open` dials the broker and may accept at once (accepting needs the database only); `start` adds consumption,
 * due work and the heartbeat; `stop` ends them in order: no new messages, webhook calls finished, confirms awaited,
 * channels closed, then connections.
 */
import type { AgendaKind } from '../agenda/agenda.ts';
import type { Broker } from '../broker/broker.ts';
import type { CatalogSource } from '../catalog/catalog.ts';
import type { SteadyClock } from '../clock.ts';
import { atMost } from '../deadline.ts';
import { createAnswering } from '../delivery/answer.ts';
import type { Courier } from '../delivery/courier.ts';
import { createCopies } from '../delivery/copies.ts';
import { createDeliverer, type Deliverer, type DeliverParts } from '../delivery/deliver.ts';
import { createGrips, type DepartureBook } from '../delivery/grip.ts';
import { createPuller, type PullParts } from '../delivery/pull.ts';
import type { OrderParts } from '../ordering/desk.ts';
import { createOrderer, type Orderer } from '../ordering/ordering.ts';
import { shardOf } from '../message/shard.ts';
import { asProblem } from '../problem.ts';
import { createCommitter, type CommitParts, type Committer } from '../publish/commit.ts';
import { createMirror, type MirrorParts } from '../publish/mirror.ts';
import { publishAgain } from '../publish/resend.ts';
import type { Offer, SetLink, SetStatus } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';
import type { Subscription, Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import { createDecider, type Decider } from '../transaction/decide.ts';
import { priorities, queueOf } from '../topology/names.ts';
import { createCatalogCalls } from './catalog-calls.ts';
import { createConsumptions, type Consumptions } from './consumptions.ts';
import { createDueHandlers } from './due-handlers.ts';
import { createDueWork, type Budget, type DueWork } from './due-work.ts';
import { createInquiry } from './inquiry.ts';
import { createHostView, type HostView } from './host-view.ts';
import { createLinkWatch, type LinkWatch, type LinkWatchParts } from './link-watch.ts';
import type { Register } from './register.ts';
import { createRepeater } from './repeater.ts';
import { createPulse, type Pulse } from './pulse.ts';
import { createRooms } from './rooms.ts';
import { runShift } from './shift.ts';
import { createStanding } from './standing.ts';
import { until } from './until.ts';
import { createScheduledCalls } from './scheduled-calls.ts';

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
  readonly clock: SteadyClock;
  readonly telemetry: Telemetry;
  /** How the SET's federation is; without it nobody watches it. @throws Problem */
  readonly lookAtFederation?: LinkWatchParts['lookAtFederation'];
  readonly timing: SetHostTiming;
  /** Where other SETs keep copies of mirrored messages. */
  readonly shelves: MirrorParts['shelves'];
  /** What has left this SET for others, one per shard. */
  readonly departures: readonly DepartureBook[];
}

export interface SetHostTiming {
  readonly confirmTimeoutMs: number;
  readonly resendAfterMs: number;
  /** Tries before a message is FAILED. */
  readonly maxSendAttempts: number;
  /**
   * How long a claimed retry may wait for a free slot of its subscription. With the longest webhook timeout it is the
   * lease: what a dead host had claimed waits so long.
   */
  readonly slotWaitMs: number;
  readonly heartbeatMs: number;
  /** After so long without a heartbeat a host is given up. */
  readonly heartbeatExpiryMs: number;
  /** How often the catalog is looked at for changes. */
  readonly reconcileMs: number;
  /** Time a stopping host gives to webhook calls under way. */
  readonly stopGraceMs: number;
}

export interface SetHost extends SetLink {
  /**
   * Waits for the first connection, at most `maxMs`, and declares the topology.
   * @throws Problem when the catalog cannot be read
   */
  ready(maxMs: number): Promise<void>;
  /** Begins to consume, to do due work, and to beat. Safe to call twice. */
  start(): void;
  /** Claims and handles due work of one kind, with or without `start`. Returns how many entries. */
  handleDue(kind: AgendaKind, budget: Budget): Promise<number>;
  /**
   * Consumes for at most a while or a number of messages, then stops cleanly: the one primitive of consumption, for a
   * host that was not started. Returns how many messages.
   */
  shift(budget: Budget): Promise<number>;
  /**
   * Messages waiting in the queues of the active subscriptions, by subscription.
   * @throws Problem `broker-unavailable`
   */
  backlog(): Promise<Readonly<Record<string, number>>>;
  stop(): Promise<void>;
}

export function openSetHost(parts: SetHostParts): SetHost {
  const { broker, clock, timing, stores } = parts;
  const view = createHostView(parts);
  const grips = createGrips({ set: parts.set, books: parts.departures, clock, knownForMs: knownFor(timing) });
  // A failure is tried again at the next turn.
  const wakeUp = (): void => void reconcile().then(() => due.nudge(0), ignore);
  const standing = createStanding(() => (grips.renew(), wakeUp()));
  const active = () => (standing.isFenced ? [] : view.active());
  const canSend = (): boolean => broker.state === 'connected' && view.isDeclared && !standing.isFenced;
  const onDue = (afterMs: number, kind: AgendaKind): void => due.nudge(afterMs, kind);
  const sendParts = { ...parts, ...timing, canSend, maxAttempts: timing.maxSendAttempts, onDue };
  const committer = openCommitter(sendParts, (messages) => pulse.took(messages));
  const decider = createDecider(sendParts);
  const disable = async (name: string, reason: string): Promise<void> => {
    await view.disable(name, reason);
    // Not awaited: the consumption stops when its messages are acked, and the one that said so is among them.
    void reconcile().catch(ignore);
  };
  const { subscription } = view;
  const pulse = createPulse({ ...parts, disable, subscription, onTenure: standing.onTenure });
  const passCopy = createCopies({ ...parts, topic: (name) => view.topic(name) });
  const arrive: PullParts['arrive'] = (...arrived) => orderer.arrive(...arrived);
  const deliverer = openDeliverer(parts, view, {
    arrive,
    disable,
    onDue,
    passCopy,
    pulse,
    onBreaker: () => due.nudge(0),
    onFenced: standing.onFenced,
    grip: grips.take,
  });
  const orderer = openOrderer(parts, view, {
    call: (...wanted) => deliverer.call(...wanted),
    resend: (messages) => publishAgain(sendParts, messages),
    onDue,
  });
  const due = createDueWork({
    ...parts,
    handlers: createDueHandlers({
      ...sendParts,
      committer: inTopics(committer, (name) => view.topic(name)),
      deliverer,
      orderer,
      decider,
      topic: (name) => view.topic(name),
      subscription,
      longestCallMs: () => view.longestTimeoutMs() + timing.slotWaitMs,
      isLoaded: () => view.isLoaded,
      rooms: createRooms({ view, deliverer, onDue }),
      onRetry: (afterMs) => due.nudge(afterMs, 'redeliver'),
    }),
  });
  const consumptions = createConsumptions({ broker, graceMs: timing.stopGraceMs, take: deliverer.take });
  const repeater = createRepeater(clock);
  const linkWatch = createLinkWatch(parts);
  let life: 'open' | 'started' | 'stopped' = 'open';

  const reconcile = async (): Promise<void> => {
    const before = view.version;
    // What of it fails is no reason to leave the rest as it was.
    const failure = await view.refresh().then(nothing, asProblem);
    // The first one, or one that says who has taken over from whom: there may be work that nobody has told of.
    if (view.version !== before) due.nudge(0);
    if (life === 'started')
      await consumptions.reconcile(active(), standing.isFenced ? 0 : timing.stopGraceMs);
    if (failure) throw failure;
  };

  const stopListening = followBroker(parts, () => life === 'started' && wakeUp());

  const opening = until(clock, openingMs, canSend);
  // A broker that answers late, or never, must not hold up whoever waits here.
  const ready = (maxMs: number): Promise<void> => atMost(clock, maxMs, connect(parts, view, maxMs));

  return {
    async accept(offers, options) {
      if (offers.some(({ message }) => message.mode === 'fast')) await opening;
      return committer.accept(offers, options);
    },
    find: async (id) => stores[shardOf(id, stores.length)]?.find(id),
    ...callsAboutMessages(parts, view, onDue),
    ...openPuller(parts, view, { arrive, grip: grips.take, onDue, passCopy, ready }),
    ...decider.link,
    status: () => statusOf({ ...parts, linkWatch }, committer.unsettled),
    ...createCatalogCalls({ ...parts, deliverer }, view, reconcile),
    ready,
    start() {
      if (life !== 'open') return;
      life = 'started';
      due.startLoops();
      repeater.every(timing.reconcileMs, reconcile);
      for (const task of [pulse.beat, linkWatch.look]) repeater.every(timing.heartbeatMs, task);
    },
    async handleDue(kind, budget) {
      await ready(budget.maxMs);
      // What falls due later is the work of its own loops.
      return due.handle(kind, life === 'started' ? { ...budget, whenDry: 'leave' } : budget);
    },
    shift: (budget) => runShift({ ...timing, clock, consumptions, deliverer, due, ready, active }, budget),
    backlog: () => ready(firstConnectionMs).then(() => backlogOf(broker, view.recorded())),
    async stop() {
      if (life === 'stopped') return;
      life = 'stopped';
      stopListening();
      repeater.stop();
      await windDown(parts, { orderer, deliverer, due, decider, consumptions, committer });
    },
  };
}

/** Half of what is left when the last heartbeat was just before it was asked; with nothing left it would be asked for ever. */
function knownFor({ heartbeatMs, heartbeatExpiryMs }: SetHostTiming): number {
  return Math.min(longestKnownMs, Math.max(leastKnownMs, (heartbeatExpiryMs - heartbeatMs) / 2));
}

const leastKnownMs = 500;

const longestKnownMs = 10_000;

function openCommitter(
  parts: Omit<CommitParts, 'mirror' | 'onTaken'> & SetHostParts,
  onTaken: CommitParts['onTaken'],
): Committer {
  return createCommitter({ ...parts, mirror: createMirror(parts), onTaken });
}

const ignore = (): void => undefined;
const nothing = (): undefined => undefined;

/** @param onBack the connection is there again: what waited for it is due now */
function followBroker({ broker, set, telemetry }: SetHostParts, onBack: () => void): () => void {
  return broker.onState((state) => {
    telemetry.set('setway_broker_state', { set }, brokerGauge[state]);
    if (state === 'connected') onBack();
  });
}

/** What edges ask of messages that are kept. */
function callsAboutMessages(
  { set, stores }: SetHostParts,
  view: HostView,
  onDue: (afterMs: number, kind: AgendaKind) => void,
) {
  return {
    ...createInquiry({ set, stores, nudge: (kind) => onDue(0, kind) }),
    ...createScheduledCalls({ set, stores, onDue }),
    ...createAnswering({ set, stores, onDue, subscription: (name) => view.subscription(name) }),
  };
}

/** What a host publishes by itself is as durable as its topic wants. */
function inTopics(
  committer: Committer,
  topic: (name: string) => Topic | undefined,
): Pick<Committer, 'accept'> {
  const durable = (offer: Offer): Offer =>
    topic(offer.message.topic)?.durability === 'mirrored' ? { ...offer, durability: 'mirrored' } : offer;
  return { accept: (offers, options) => committer.accept(offers.map(durable), options) };
}

interface AtWork {
  readonly orderer: Orderer;
  readonly deliverer: Deliverer;
  readonly due: DueWork;
  readonly decider: Decider;
  readonly consumptions: Consumptions;
  readonly committer: Committer;
}

/** Ends what is under way, in order. */
async function windDown({ broker, clock, register, timing }: SetHostParts, work: AtWork): Promise<void> {
  const { orderer, deliverer, due, decider, consumptions, committer } = work;
  orderer.stop();
  deliverer.leave();
  const decided = due.stop().then(() => decider.idle());
  const finished = Promise.all([consumptions.stop(timing.stopGraceMs), decided, committer.idle()]);
  // `fast` messages are acked before their webhook is called: what is left of them is nowhere else.
  const delivered = finished.then(() => until(clock, timing.stopGraceMs, () => deliverer.load === 0));
  await atMost(clock, timing.stopGraceMs, delivered);
  deliverer.abandon();
  orderer.abandon();
  await broker.close();
  // Without it the register forgets the host by itself a little later.
  await register.leave().catch(ignore);
}

async function connect({ broker, clock }: SetHostParts, view: HostView, maxMs: number): Promise<void> {
  await until(clock, Math.min(firstConnectionMs, maxMs), () => broker.state !== 'disconnected');
  await view.refresh();
}

interface DelivererLinks extends Pick<DeliverParts, 'arrive' | 'disable' | 'grip' | 'passCopy'> {
  readonly pulse: Pulse;
  readonly onDue: (afterMs: number, kind: AgendaKind) => void;
  readonly onBreaker: () => void;
  readonly onFenced: DeliverParts['onFenced'];
}

function openDeliverer(
  parts: SetHostParts,
  { subscription }: HostView,
  { onDue, pulse, ...links }: DelivererLinks,
): Deliverer {
  return createDeliverer({
    ...parts,
    ...links,
    subscription,
    onAnswer: pulse.note,
    onRetry: (afterMs) => onDue(afterMs, 'redeliver'),
    onOwed: () => onDue(0, 'callback'),
    hosts: () => pulse.hosts,
  });
}

function openPuller(
  parts: SetHostParts,
  view: HostView,
  { ready, ...links }: Pick<PullParts, 'arrive' | 'grip' | 'onDue' | 'passCopy'> & Pick<SetHost, 'ready'>,
): ReturnType<typeof createPuller> {
  return createPuller({
    ...parts,
    ...links,
    ready: async () => (view.isLoaded ? undefined : ready(firstConnectionMs)),
    subscription: (name) => view.subscription(name),
  });
}

function openOrderer(
  parts: SetHostParts,
  view: HostView,
  {
    onDue,
    ...links
  }: Pick<OrderParts, 'call' | 'resend'> & {
    readonly onDue: (afterMs: number, kind: AgendaKind) => void;
  },
): Orderer {
  return createOrderer({
    ...parts,
    ...links,
    onDue: (afterMs) => onDue(afterMs, 'order'),
    onGap: () => onDue(0, 'gap'),
    onOwed: () => onDue(0, 'callback'),
    subscription: (name) => view.subscription(name),
    topic: (name) => view.topic(name),
    subscribedSinceMs: (name) => view.subscribedSinceMs(name),
  });
}

async function backlogOf(
  broker: Broker,
  subscriptions: readonly Subscription[],
): Promise<Readonly<Record<string, number>>> {
  const queuesOf = (subscription: Subscription): readonly string[] =>
    priorities.map((priority) => queueOf(subscription, priority));
  const depths = await broker.depths(subscriptions.flatMap(queuesOf));
  const depthOf = (subscription: Subscription): number =>
    queuesOf(subscription).reduce((sum, queue) => sum + (depths.get(queue) ?? 0), 0);
  return Object.fromEntries(subscriptions.map((each) => [each.name, depthOf(each)]));
}

async function statusOf(
  { set, host, broker, register, telemetry, linkWatch }: SetHostParts & { readonly linkWatch: LinkWatch },
  unconfirmed: number,
): Promise<SetStatus> {
  const database = await register.rate().then(
    (rate) => ({ database: 'up' as const, ...(rate === undefined ? {} : { rate }) }),
    () => ({ database: 'down' as const }),
  );
  const federation = linkWatch.seen ? { federation: linkWatch.seen } : {};
  const metrics = telemetry.snapshot();
  return { set, host, broker: broker.state, ...database, unconfirmed, ...federation, metrics };
}

const brokerGauge = { connected: 1, blocked: 0.5, disconnected: 0 } as const;

/** A host that was just opened waits for its first connection; one that gets none in time does what it can without. */
const firstConnectionMs = 4_000;

/** So long `fast` messages wait for a host that was just opened: less than an edge waits for a SET. */
const openingMs = 800;
