/**
 * One SET on real parts, with a consumer that survives its hosts: for tests that open hosts, let them die at a chosen
 * step, and look at what is left.
 */
import pg from 'pg';
import type { AgendaKind } from '../../shared/agenda/agenda.ts';
import { createCourier } from '../../functions/courier.ts';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { connectBroker } from '../../shared/broker/rabbitmq.ts';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import { systemClock } from '../../shared/clock.ts';
import { webhookHandler } from '../../shared/consumer/consumer.ts';
import type { Courier } from '../../shared/delivery/courier.ts';
import type { Register } from '../../shared/host/register.ts';
import { openSetHost, type SetHost, type SetHostTiming } from '../../shared/host/set-host.ts';
import { createPostgresGuard, guardTable } from '../../shared/idempotency/postgres-guard.ts';
import { mintMessageId, type MessageId } from '../../shared/identifier.ts';
import type { Message } from '../../shared/message/message.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import type { Store } from '../../shared/store/store.ts';
import type { Subscription } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { createDeliveryIds } from '../../shared/webhook/delivery-id.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';
import type { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/part.ts';
import { liveUntil, mortal, mortalBroker, mortalClock, type Life } from './mortal.ts';

export const set = 'hangzhou';
export const groups = ['inventory', 'receipt'] as const;
const topic = 'orders';

/** Short leases, so that what a dead host held is free again within a test. */
const timing: SetHostTiming = {
  confirmTimeoutMs: 1_000,
  resendAfterMs: 1_000,
  maxSendAttempts: 100,
  slotWaitMs: 1_000,
  heartbeatMs: 60_000,
  heartbeatExpiryMs: 240_000,
  reconcileMs: 1_000,
  stopGraceMs: 2_000,
};

export interface HostOptions {
  readonly life?: Life;
  readonly catalog?: { current(): Promise<Catalog> };
  readonly courier?: Courier;
  readonly timing?: Partial<SetHostTiming>;
}

export interface OneSet {
  readonly store: Store;
  readonly sql: Sql;
  readonly catalog: Catalog;
  readonly courier: Courier;
  /** How often each message had its effect on each group: `<group>/<id>`. */
  readonly effects: ReadonlyMap<string, number>;
  /** The effects in their order. */
  readonly heard: readonly { readonly group: string; readonly id: string }[];
  /** A message that was never offered. */
  newOffer(more?: Partial<Message>): Offer;
  /** Opens a host and starts it; one with a life is mortal. */
  start(options?: HostOptions): SetHost;
  /** Stores a message as if its host had died right after the commit. */
  commitOnly(): Promise<Offer>;
  close(): Promise<void>;
}

/** A copy that meets its original is asked back after this. */
const guardLeaseMs = 2_000;

type CurrentStack = ReturnType<typeof useStack>;

const bridge = createNeonBridge();

/** @example const one = await openOneSet(useStack()); const host = one.start(); await one.close(); */
export async function openOneSet(stack: CurrentStack): Promise<OneSet> {
  configureDatabases({ fetch: bridge.fetch, timeoutMs: 10_000 });
  const corner = await stack.createCorner('chaos');
  const sql = openDatabase(corner.postgresUrl);
  await migrate(sql);
  const pool = new pg.Pool({ connectionString: corner.postgresUrl, max: 4 });
  await pool.query(guardTable);
  const store = openStore(sql);
  const secret = createWebhookSecret();
  const effects = new Map<string, number>();
  const heard: { readonly group: string; readonly id: string }[] = [];
  const guard = createPostgresGuard((text, params) => pool.query(text, [...params]));
  const handlerOf = (subscription: string) =>
    webhookHandler({ secrets: [secret], subscription, guard, leaseMs: guardLeaseMs }, async ({ id }) => {
      const key = `${subscription}/${id}`;
      effects.set(key, (effects.get(key) ?? 0) + 1);
      heard.push({ group: subscription, id });
    });
  const courier = createCourier({
    functions: Object.fromEntries(groups.map((name) => [name, handlerOf(name)])),
    post: () => Promise.reject(new RangeError('No webhook of this test has a URL.')),
    policy: { allowHttp: false, allowLoopback: false, ownHosts: [] },
    deliveryIds: createDeliveryIds([new Uint8Array(32)]),
    clock: systemClock,
    sliceSize: 1,
  });
  const catalog = catalogOf(secret);
  const brokers: Broker[] = [];
  const closers: (() => Promise<void>)[] = [];

  const newOffer = (more: Partial<Message> = {}): Offer => {
    const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
    const placement = { set, reason: 'nearest' } as const;
    const body = new TextEncoder().encode(`{"orderId":"${id}"}`);
    const content = { topic, mode: 'confirm', contentType: 'application/json', headers: {} } as const;
    return { message: { ...content, id, owner: 'acme', body, placement, acceptedAtMs: Date.now(), ...more } };
  };

  return {
    store,
    sql,
    catalog,
    courier,
    effects,
    heard,
    newOffer,
    start(options = {}) {
      const broker = connectBroker({
        urls: [corner.amqpUrl],
        heartbeatSeconds: 10,
        connectTimeoutMs: 3_000,
        clock: systemClock,
        closeTimeoutMs: 300,
      });
      brokers.push(broker);
      const life = options.life ?? liveUntil();
      const steps = [
        'commit',
        'decide',
        'findTransaction',
        'recordCheck',
        'arrive',
        'claimStreams',
        'claimReleases',
        'makeReady',
        'loadStreams',
        'step',
        'gather',
        'missing',
        'rest',
        'changeAssembly',
        'settle',
        'load',
        'record',
        'answer',
        'lease',
        'deliveries',
        'claim',
        'nextDueInMs',
        'finish',
        'release',
        'stepRedrive',
        'loadSchedules',
        'moveSchedules',
        'loadGapCallbacks',
        'recordGapTold',
      ];
      const host = openSetHost({
        set,
        host: `host-${brokers.length}`,
        stores: [withClaims(mortal({ ...store, ...claimsOf(store) }, 'store', { life, steps }))],
        register,
        broker: mortalBroker(broker, life),
        courier: mortal(options.courier ?? courier, 'courier', { life, steps: ['carry', 'ask', 'tell'] }),
        catalog: options.catalog ?? { current: async () => catalog },
        clock: mortalClock(systemClock, life),
        telemetry: createTelemetry(),
        shelves: async () => [],
        departures: [],
        timing: { ...timing, ...options.timing },
      });
      host.start();
      // What a dead host left unacked goes back when the connection it cannot keep open goes.
      void life.over.then(() => broker.close());
      if (!options.life) closers.push(() => host.stop());
      return host;
    },
    async commitOnly() {
      const offer = newOffer();
      await store.commit([offer], { set, resendAfterMs: 0 });
      return offer;
    },
    async close() {
      await Promise.all(closers.map((close) => close()));
      await Promise.all(brokers.map((broker) => broker.close()));
      await pool.end();
    },
  };
}

/** Claims of streams are a step of their own. */
function withClaims(store: Store & ReturnType<typeof claimsOf>): Store {
  const claims: Partial<Record<AgendaKind, Store['claim']>> = {
    order: store.claimStreams,
    release: store.claimReleases,
  };
  const claim: Store['claim'] = (options) => claims[options.kind]?.(options) ?? store.claim(options);
  return new Proxy(store, {
    get: (target, property) => (property === 'claim' ? claim : (Reflect.get(target, property) as unknown)),
  });
}

function claimsOf(store: Store) {
  const claim: Store['claim'] = (options) => store.claim(options);
  return { claimStreams: claim, claimReleases: claim };
}

const register: Register = {
  beat: async () => ({ hosts: 1, tenure: 'serving' }),
  rate: async () => undefined,
  leave: async () => undefined,
  reportAnswers: async () => [],
  disabled: async () => new Map(),
  disable: async () => undefined,
  enable: async () => undefined,
  subscribedSince: async () => new Map(),
  note: async (declared) => declared,
  forget: async () => undefined,
};

function catalogOf(secret: string): Catalog {
  const subscription = (name: string): Subscription => ({
    name,
    owner: 'acme',
    topic,
    endpoint: { function: name },
    bindings: ['#'],
    format: 'raw',
    concurrency: 8,
    timeoutMs: 2_000,
    retryDelaysMs: [100, 200, 400, 800, 1_600, 1_600, 1_600],
    secrets: [secret],
    status: 'active',
  });
  return {
    version: 1,
    topics: new Map([
      [topic, { name: topic, owner: 'acme', type: 'fanout', scope: 'anywhere', rules: ['nearest'] }],
    ]),
    subscriptions: new Map(groups.map((name) => [name, subscription(name)])),
    sets: new Map(),
    access: new Map(),
    keys: new Map(),
    outboxes: [],
    table: undefined as never, // a host does not route
  };
}

/** Waits until every message is confirmed, every delivery done, and the agenda empty; tells what is left if not. */
export async function settled(
  { sql }: OneSet,
  ids: readonly MessageId[],
  deadlineMs = 25_000,
): Promise<void> {
  await until(async () => {
    const rows = await sql`
      SELECT (SELECT json_agg(a) FROM (SELECT kind, subscription, due_at - now() AS due_in, attempts FROM agenda) a) AS agenda,
        (SELECT json_agg(m) FROM (SELECT id, state FROM message WHERE state <> 'CONFIRMED') m) AS unconfirmed,
        (SELECT count(*)::int FROM message) AS stored,
        (SELECT json_agg(d) FROM (SELECT message_id, subscription, state, attempts FROM delivery WHERE state <> 'DONE') d) AS undone,
        (SELECT count(*)::int FROM delivery WHERE state = 'DONE') AS done`;
    const wanted = {
      agenda: null,
      unconfirmed: null,
      undone: null,
      stored: ids.length,
      done: ids.length * groups.length,
    };
    const isSettled = Object.entries(wanted).every(([name, value]) => rows[0]?.[name] === value);
    if (!isSettled) throw new Error(`Not settled: ${JSON.stringify(rows[0])}`);
  }, deadlineMs);
}
