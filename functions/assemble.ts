/**
 * Settings → services: the only place that chooses machines. A shell adds what its platform decides: how queries
 * travel, how Redis is reached, where SET hosts live, how webhooks are called.
 */
import type { Catalog, SetAccess } from '../shared/catalog/catalog.ts';
import { subscribedSince } from '../shared/catalog/listening.ts';
import { connectBroker } from '../shared/broker/rabbitmq.ts';
import { systemClock } from '../shared/clock.ts';
import type { CatalogWriter } from '../shared/catalog/catalog-writer.ts';
import type { Courier } from '../shared/delivery/courier.ts';
import type { FleetParts } from '../shared/fleet/fleet.ts';
import { comeBack } from '../shared/fleet/come-back.ts';
import { takeOver, type TakeOverParts } from '../shared/fleet/take-over.ts';
import { openSetHost, type SetHost } from '../shared/host/set-host.ts';
import type { Register } from '../shared/host/register.ts';
import { createRedisBuckets } from '../shared/idempotency/redis-buckets.ts';
import { createRedisPublishLedger } from '../shared/idempotency/redis-publish-ledger.ts';
import { createLimiter } from '../shared/publish/limiter.ts';
import { connectRedis, type RedisAccess, type RedisScripts } from '../shared/idempotency/upstash.ts';
import { Problem } from '../shared/problem.ts';
import { createPublisher } from '../shared/publish/accept.ts';
import type { Publisher } from '../shared/publish/publisher.ts';
import { createSealer, type Sealer } from '../shared/sealed.ts';
import { createBreaker, type Breaker } from '../shared/sets/breaker.ts';
import { callLink, linkThrough, type SetLink } from '../shared/sets/set-link.ts';
import type { Settings } from '../shared/settings.ts';
import {
  areHostsDead,
  beat,
  copyCatalog,
  countLiveHosts,
  createCatalogSource,
  disableSubscription,
  enableSubscription,
  leave,
  readDisabled,
  readKeptVersions,
  readRate,
  type RenewableCatalog,
  writeHealth,
} from '../shared/store/catalog.ts';
import { createCatalogWriter } from '../shared/store/catalog-edits.ts';
import { createFleet } from './assemble-fleet.ts';
import { forgetDeclared, noteDeclared } from '../shared/store/declared.ts';
import { openDatabase, type Sql } from '../shared/store/database.ts';
import { reportAnswers } from '../shared/store/failing.ts';
import { readJobRuns, writeJobRun } from '../shared/store/job-runs.ts';
import { openHandover } from '../shared/store/postgres-handover.ts';
import { openShelf } from '../shared/store/mirror.ts';
import { openStore } from '../shared/store/postgres-store.ts';
import type { FederationView } from '../shared/sets/federation-view.ts';
import { identityOf, vhostIn, type SetIdentity } from '../shared/fleet/apply-federation.ts';
import { planFederation, upstreamSetOf } from '../shared/fleet/federation.ts';
import { readFederationView } from '../shared/fleet/federation-links.ts';
import type { Management } from '../shared/topology/management.ts';
import { openManagement } from '../shared/topology/rabbitmq-management.ts';
import { createTelemetry, type Telemetry } from '../shared/telemetry.ts';
import { createDeliveryIds, type DeliveryIds } from '../shared/webhook/delivery-id.ts';
import type { WebhookUrlPolicy } from '../shared/webhook/address.ts';
import type { HostAtWork, JobParts } from '../scheduled/run-job.ts';
import { createMoveParts } from './bucket-moves.ts';
import { createTakeOverParts } from './assemble-take-over.ts';
import type { Services } from './services.ts';

export interface PlatformParts {
  readonly redis: RedisAccess;
  /** Keeps work alive beyond the request that began it. */
  readonly inBackground: (work: Promise<unknown>) => void;
  /** Takes structured lines. */
  readonly log: (entry: object) => void;
}

/** What every shell shares: the catalog, the databases, Redis. */
export interface World {
  readonly settings: Settings;
  readonly telemetry: Telemetry;
  readonly sealer: Sealer;
  readonly deliveryIds: DeliveryIds;
  readonly catalog: RenewableCatalog;
  readonly redis: RedisScripts;
  readonly log: (entry: object) => void;
  readonly inBackground: (work: Promise<unknown>) => void;
  /** How to reach the parts of a SET. @throws Problem `not-found` */
  access(set: string): Promise<SetAccess>;
}

export function createWorld(settings: Settings, platform: PlatformParts): World {
  const sealer = createSealer(settings.SETWAY_ENCRYPTION_KEYS);
  const catalog = createCatalogSource({
    databases: settings.SETWAY_CATALOG_DATABASES.map((url) => databaseAt(url)),
    sealer,
    clock: systemClock,
    maxAgeMs: settings.SETWAY_CATALOG_MAX_AGE_MS,
    inBackground: platform.inBackground,
  });
  return {
    settings,
    sealer,
    catalog,
    log: platform.log,
    inBackground: platform.inBackground,
    telemetry: createTelemetry(),
    deliveryIds: createDeliveryIds(settings.SETWAY_ENCRYPTION_KEYS),
    redis: prefixed(connectRedis(platform.redis), settings.SETWAY_REDIS_PREFIX),
    async access(set) {
      const found = (await catalog.current()).access.get(set);
      if (!found) throw new Problem('not-found', `There is no SET "${set}".`);
      return found;
    },
  };
}

/** Keeps a deployment's keys apart from others' in the same Redis. */
function prefixed(redis: RedisScripts, prefix: string): RedisScripts {
  return {
    run: (script, keys, args) =>
      redis.run(
        script,
        keys.map((key) => prefix + key),
        args,
      ),
  };
}

/** Opening a database opens no connection: it remembers the URL. */
const databaseAt = (url: string): Sql => openDatabase(url);

/** Rules for webhook URLs, from the settings. */
export function webhookPolicy(settings: Settings): WebhookUrlPolicy {
  const isOpen = settings.SETWAY_PRIVATE_WEBHOOKS === 'allow';
  return { allowHttp: isOpen, allowLoopback: isOpen, ownHosts: settings.SETWAY_OWN_HOSTS };
}

function publisherOf(world: World, breaker: Breaker, link: (set: string) => SetLink): Publisher {
  const { settings, catalog, telemetry } = world;
  return createPublisher({
    catalog,
    link,
    breaker,
    telemetry,
    clock: systemClock,
    ledger: createRedisPublishLedger(world.redis),
    acceptTimeoutMs: settings.SETWAY_ACCEPT_TIMEOUT_MS,
    acceptDeadlineMs: settings.SETWAY_ACCEPT_DEADLINE_MS,
    idempotencyTtlMs: settings.SETWAY_IDEMPOTENCY_HOURS * 3_600_000,
  });
}

/**
 * Beside the request that changed it, every SET gets its copy and every host is told; one that is away gets it from
 * `probe-sets`, and a host looks for itself every few seconds.
 */
function spreaderOf(world: World, link: (set: string) => SetLink): () => Promise<void> {
  const { catalog, inBackground } = world;
  const center = centerOf(world);
  let spreadAtMs = 0;
  const spread = async (): Promise<void> => {
    await pauseMs(spreadLingerMs);
    const current = await catalog.current();
    await copyCatalog([center], copiesOf(world, current));
    await Promise.allSettled([...current.sets.keys()].map((set) => link(set).follow()));
  };
  return async () => {
    // This edge knows its own change at once; a reading that fails comes with the next one.
    await catalog.renew().catch(() => undefined);
    const nowMs = systemClock.nowMs();
    if (nowMs < spreadAtMs) return;
    spreadAtMs = nowMs + spreadLingerMs;
    inBackground(spread().catch(() => undefined));
  };
}

function centerOf({ settings }: World): Sql {
  return databaseAt(settings.SETWAY_CATALOG_DATABASES[0] ?? '');
}

const nothing = (): void => undefined;

/** Changes that come one after the other are copied together. */
const spreadLingerMs = 100;

const pauseMs = (ms: number): Promise<void> => new Promise((resolve) => void systemClock.after(ms, resolve));

/** Every database that keeps a copy of the catalog. */
function copiesOf({ settings }: World, { access }: Catalog): readonly Sql[] {
  const [, ...others] = settings.SETWAY_CATALOG_DATABASES;
  const firsts = [...access.values()].map(({ databaseUrls }) => databaseUrls[0] ?? '');
  return [...new Set([...others, ...firsts])].map((url) => databaseAt(url));
}

/** Its progress is in the log. */
function toldTakeOver(world: World, set: string): TakeOverParts {
  return createTakeOverParts(world, (line) => world.log({ set, takeOver: line }));
}

/** Services of the edge, given the links to the SETs. */
export function createServices(world: World, link: (set: string) => SetLink): Services {
  const { settings, catalog, telemetry } = world;
  const breaker = createBreaker({ clock: systemClock, random: Math.random });
  const center = centerOf(world);
  const onWritten = spreaderOf(world, link);
  const catalogWriter = createCatalogWriter({ center, onWritten });
  return {
    clock: systemClock,
    jobRuns: (jobs) => readJobRuns(center, jobs),
    catalog,
    catalogWriter,
    fleet: fleetOf(world, catalogWriter),
    takeOver: (wish) => takeOver(toldTakeOver(world, wish.set), wish),
    comeBack: (set) => comeBack(toldTakeOver(world, set), set),
    operators: settings.SETWAY_OPERATORS,
    moves: createMoveParts({ center, sealer: world.sealer, onWritten }),
    sealer: world.sealer,
    publisher: publisherOf(world, breaker, link),
    limiter: createLimiter({
      shared: createRedisBuckets(world.redis),
      clock: systemClock,
      telemetry,
      deadlineMs: settings.SETWAY_LIMIT_TIMEOUT_MS,
    }),
    link,
    telemetry,
    isUsable: (set) => breaker.usable(set),
    platform: settings.SETWAY_PLATFORM,
    limits: {
      maxBodyBytes: settings.SETWAY_MAX_BODY_BYTES,
      maxBulkBytes: settings.SETWAY_MAX_BULK_BYTES,
    },
    webhookPolicy: webhookPolicy(settings),
    deliveryIds: world.deliveryIds,
    metricsAccess: settings.SETWAY_OPEN_METRICS === 'yes' ? 'open' : 'key',
  };
}

function fleetOf({ sealer, settings, log }: World, writer: CatalogWriter): FleetParts {
  const report = (line: string): void => log({ fleet: line });
  return createFleet({ sealer, writer, catalogUrls: settings.SETWAY_CATALOG_DATABASES, report });
}

/** Opens the host of a SET: dials its broker, and may accept at once. */
export async function openHost(world: World, set: string, courier: Courier): Promise<SetHost> {
  const { settings, catalog } = world;
  const { brokerUrls, databaseUrls } = await world.access(set);
  // Its own: an edge adds up what hosts report, wherever they live.
  const telemetry = createTelemetry();
  const host = `${set}-${crypto.randomUUID().slice(0, 8)}`;
  return openSetHost({
    set,
    host,
    stores: databaseUrls.map((url) => openStore(databaseAt(url), set)),
    register: registerOf({ ...world, telemetry }, databaseAt(databaseUrls[0] ?? ''), { set, host }),
    broker: connectBroker({
      onEvent: (event) => {
        // One line per message would be a flood: these are counted.
        if (event.kind === 'fast-returned') telemetry.count('setway_fast_returned_total', { set });
        else world.log({ set, host, broker: event });
      },
      urls: brokerUrls,
      heartbeatSeconds: 10,
      connectTimeoutMs: 3_000,
      clock: systemClock,
    }),
    courier,
    catalog,
    shelves: async (sibling) =>
      (await world.access(sibling)).databaseUrls.map((url) => openShelf(databaseAt(url))),
    departures: databaseUrls.map((url) => openHandover(databaseAt(url))),
    telemetry,
    lookAtFederation: federationLookOf(world, set),
    clock: systemClock,
    timing: {
      confirmTimeoutMs: settings.SETWAY_CONFIRM_TIMEOUT_SECONDS,
      resendAfterMs: settings.SETWAY_RESEND_AFTER_SECONDS,
      maxSendAttempts: settings.SETWAY_SEND_ATTEMPTS,
      slotWaitMs,
      heartbeatMs: settings.SETWAY_HEARTBEAT_SECONDS,
      heartbeatExpiryMs: settings.SETWAY_HEARTBEAT_EXPIRY_SECONDS,
      reconcileMs: settings.SETWAY_CATALOG_MAX_AGE_MS,
      stopGraceMs: settings.SETWAY_STOP_GRACE_SECONDS,
    },
  });
}

function managementOf({ access }: Pick<Catalog, 'access'>, set: string): Management | undefined {
  const url = access.get(set)?.managementUrl;
  return url === undefined ? undefined : openManagement({ fetch: (input, init) => fetch(input, init) }, url);
}

/** How the federation of a SET is. Who is who among the SETs never changes: it is asked once. */
function federationLookOf({ catalog: source }: World, set: string): () => Promise<FederationView> {
  const identities = new Map<string, SetIdentity>();
  return async () => {
    const catalog = await source.current();
    const client = managementOf(catalog, set);
    if (!client) return { links: [], lags: [] };
    const siblings = planFederation(catalog, set).upstreams.flatMap(({ name }) => upstreamSetOf(name) ?? []);
    await Promise.allSettled(
      siblings.map(async (sibling) => {
        const management = identities.has(sibling) ? undefined : managementOf(catalog, sibling);
        if (management) identities.set(sibling, await identityOf(management, vhostIn(catalog, sibling)));
      }),
    );
    return readFederationView(client, { catalog, set, identities });
  };
}

/** Two calls of the default timeout: what has no slot by then is better off with another host. */
const slotWaitMs = 30_000;

/** The register of a SET is kept in its first database. */
function registerOf(
  { log, settings, telemetry }: World,
  sql: Sql,
  { set, host }: { readonly set: string; readonly host: string },
): Register {
  const expiryMs = settings.SETWAY_HEARTBEAT_EXPIRY_SECONDS;
  return {
    beat: (broker, rate) => beat(sql, { set, host, broker, rate, expiryMs }),
    rate: () => readRate(sql, set, expiryMs),
    leave: () => leave(sql, { set, host }),
    disabled: () => readDisabled(sql),
    reportAnswers: (answers) => reportAnswers(sql, answers),
    async disable(subscription, reason) {
      log({ set, host, disabled: subscription, reason });
      telemetry.count('setway_disabled_total', { set, subscription });
      await disableSubscription(sql, subscription, reason);
    },
    enable: (subscription) => enableSubscription(sql, subscription),
    subscribedSince: async () => subscribedSince(await readKeptVersions(sql)),
    note: (declared) => noteDeclared(sql, set, declared),
    forget: (declared) => forgetDeclared(sql, set, declared),
  };
}

/** What the cron functions need, given how a host is visited. */
export function createJobParts(
  world: World,
  visit: <T>(set: string, work: (host: HostAtWork) => Promise<T>) => Promise<T>,
): JobParts {
  const { settings, catalog, telemetry } = world;
  const linkOf = (set: string): SetLink =>
    linkThrough((call, args) => visit(set, (host) => callLink(host, call, args)));
  const breaker = createBreaker({ clock: systemClock, random: Math.random });
  const catalogDatabases = settings.SETWAY_CATALOG_DATABASES.map((url) => databaseAt(url));
  const spreadCatalog = async (): Promise<number> =>
    copyCatalog(catalogDatabases, copiesOf(world, await catalog.current()));
  return {
    catalog,
    telemetry,
    visit,
    publisher: publisherOf(world, breaker, linkOf),
    webhookPolicy: webhookPolicy(settings),
    userDatabase: (url) => async (text, params) => ({ rows: await databaseAt(url).query(text, [...params]) }),
    clock: systemClock,
    retention: { days: settings.SETWAY_RETENTION_DAYS, idempotencyHours: settings.SETWAY_IDEMPOTENCY_HOURS },
    async databases(set) {
      const { databaseUrls } = await world.access(set);
      return {
        stores: databaseUrls.map((url) => openStore(databaseAt(url))),
        shelves: databaseUrls.map((url) => openShelf(databaseAt(url))),
        keptVersions: () => readKeptVersions(databaseAt(databaseUrls[0] ?? '')),
        stopped: async () => new Set((await readDisabled(databaseAt(databaseUrls[0] ?? ''))).keys()),
        isTakenOverInPart: async () => {
          const handovers = databaseUrls.map((url) => openHandover(databaseAt(url)));
          const progress = await Promise.all(handovers.map((each) => each.progress(set)));
          return progress.some(({ state }) => state === 'begun');
        },
        areHostsDead: () =>
          areHostsDead(databaseAt(databaseUrls[0] ?? ''), set, settings.SETWAY_HEARTBEAT_EXPIRY_SECONDS),
        liveHosts: () =>
          countLiveHosts(databaseAt(databaseUrls[0] ?? ''), set, settings.SETWAY_HEARTBEAT_EXPIRY_SECONDS),
      };
    },
    async reportHealth(reports) {
      // A catalog database that is away learns it at the next probe.
      await Promise.allSettled(catalogDatabases.map((sql) => writeHealth(sql, reports)));
    },
    async keepRun(report) {
      // A center that is away misses a line of history; the run itself is told by metrics and log.
      const [center] = catalogDatabases;
      if (center) await writeJobRun(center, report).catch(() => undefined);
    },
    takeOver: (set) => takeOver(toldTakeOver(world, set), { set }),
    fleet: fleetOf(world, createCatalogWriter({ center: centerOf(world), onWritten: async () => undefined })),
    spreadCatalog,
    moves: createMoveParts({
      center: centerOf(world),
      sealer: world.sealer,
      onWritten: () => spreadCatalog().then(nothing, nothing),
    }),
  };
}
