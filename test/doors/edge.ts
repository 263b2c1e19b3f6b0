/** An edge for tests of the doors: the whole app, with a publisher that only remembers what reached it. */
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import type { ApiKey, Scope } from '../../shared/catalog/api-key.ts';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import { systemClock } from '../../shared/clock.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import type { MessageId } from '../../shared/identifier.ts';
import type { Draft } from '../../shared/message/message.ts';
import type { PublishContext, Published } from '../../shared/publish/publisher.ts';
import { createSealer } from '../../shared/sealed.ts';
import { compileRouteTable } from '../../shared/sets/route-table.ts';
import type { MessageRecord, SetLink } from '../../shared/sets/set-link.ts';
import type { Topic } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { createDeliveryIds } from '../../shared/webhook/delivery-id.ts';
import { createApp } from '../../functions/app.ts';
import type { LogEntry } from '../../functions/problem-response.ts';
import type { Services } from '../../functions/services.ts';

const hangzhou = { latitude: 30.25, longitude: 120.17 };

const sets = [
  { id: 'hangzhou', number: 1, kind: 'unit', place: hangzhou },
  { id: 'frankfurt', number: 2, kind: 'unit', place: { latitude: 50.11, longitude: 8.68 } },
  { id: 'center', number: 3, kind: 'center', place: { latitude: 31.23, longitude: 121.47 } },
].map((set) => ({ ...set, weight: 1, status: 'active', shards: 1 }));

const table = compileRouteTable({ version: 7, sets, buckets: [], pins: [], health: {} });

function topic(name: string, owner: string): [string, Topic] {
  return [
    name,
    { name, owner, type: 'topic', scope: 'anywhere', rules: ['explicit', 'pin', 'key', 'nearest'] },
  ];
}

export interface Edge {
  readonly services: Services;
  /** What reached the publisher, in order. */
  readonly published: { readonly draft: Draft; readonly context: PublishContext }[];
  readonly log: LogEntry[];
  /** How often the catalog was read. */
  readonly catalogReads: () => number;
  /** A key of the owner `shop`. */
  readonly keyFor: (scopes: readonly Scope[], more?: Partial<ApiKey>) => string;
  readonly send: (
    path: string,
    init?: RequestInit & { readonly key?: string | undefined },
  ) => Promise<Response>;
  /** A good publish that must work: nothing before it may have broken anything. */
  readonly publishGood: () => Promise<Response>;
}

/** What a SET answers; each test says what it needs. */
export type Links = Readonly<Record<string, Partial<SetLink>>>;

/** What a test does not care about. */
export const unasked = {
  publishMany: () => Promise.reject(new Error('not asked')),
  publishTogether: () => Promise.reject(new Error('not asked')),
};

const refuse = () => Promise.reject(new Error('not asked'));
const unaskedFleet: Services['fleet'] = {
  clock: systemClock,
  sealer: createSealer([new Uint8Array(32)]),
  center: refuse,
  writer: { write: refuse },
  rates: refuse,
  spread: refuse,
  management: () => {
    throw new Error('not asked');
  },
  withBroker: refuse,
  database: () => {
    throw new Error('not asked');
  },
  newPassword: () => '',
  report: () => undefined,
};

export function openEdge(overrides: Partial<Services> = {}, links: Links = {}): Edge {
  const keys = new Map<string, ApiKey>();
  const published: Edge['published'] = [];
  const log: LogEntry[] = [];
  let catalogReads = 0;
  const catalog: Catalog = {
    version: 7,
    topics: new Map([topic('orders', 'shop'), topic('secrets', 'rival')]),
    subscriptions: new Map(),
    sets: new Map(table.sets.map((set) => [set.id, set])),
    access: new Map(),
    outboxes: [],
    keys,
    table,
  };
  const publish = async (draft: Draft, context: PublishContext): Promise<Published> => {
    published.push({ draft, context });
    const id = mintMessageId({ setNumber: 1, shard: 0 }, 1_700_000_000_000);
    const route = { reason: 'nearest', distanceKm: 3 };
    return { id, state: 'stored', set: 'hangzhou', route, duplicate: false };
  };
  const services: Services = {
    clock: systemClock,
    catalog: {
      async current() {
        catalogReads++;
        return catalog;
      },
    },
    catalogWriter: { write: () => Promise.reject(new Error('not asked')) },
    moves: {
      clock: systemClock,
      read: () => Promise.reject(new Error('not asked')),
      write: () => Promise.reject(new Error('not asked')),
      books: () => Promise.reject(new Error('not asked')),
    },
    sealer: createSealer([new Uint8Array(32)]),
    fleet: unaskedFleet,
    takeOver: () => Promise.reject(new Error('not asked')),
    comeBack: () => Promise.reject(new Error('not asked')),
    operators: [],
    jobRuns: async () => [],
    limiter: { take: () => Promise.reject(new Error('nothing is limited')) },
    publisher: {
      ...unasked,
      publish,
      publishMany: (drafts, context) => Promise.all(drafts.map((draft) => publish(draft, context))),
    },
    link: (set) => ({
      accept: () => Promise.reject(new Error('the doors never offer')),
      find: async () => undefined,
      search: async () => [],
      deadLetters: async () => [],
      redrive: async () => [],
      findRedrive: async () => [],
      replay: async () => undefined,
      decide: async () => undefined,
      findTransaction: async () => undefined,
      sequence: async () => undefined,
      createSchedule: () => Promise.reject(new Error('not asked')),
      findSchedule: async () => undefined,
      listSchedules: async () => [],
      changeSchedule: async () => undefined,
      answer: async () => [],
      pull: async () => [],
      awaitMessages: async () => false,
      status: () => Promise.reject(new Error('no status')),
      stopped: async () => ({ set, ready: 0, stops: {}, waiting: {} }),
      enable: async () => undefined,
      follow: async () => 7,
      tryOut: async () => undefined,
      cancel: async () => undefined,
      move: async () => undefined,
      scheduled: async () => [],
      ...links[set],
    }),
    isUsable: () => true,
    telemetry: createTelemetry(),
    platform: 'vercel',
    metricsAccess: 'key',
    limits: { maxBodyBytes: 1024 * 1024, maxBulkBytes: 8 * 1024 * 1024 },
    deliveryIds: createDeliveryIds([new Uint8Array(32)]),
    webhookPolicy: { allowHttp: false, allowLoopback: false, ownHosts: [] },
    ...overrides,
  };
  const app = createApp(services, (entry) => void log.push(entry));
  const keyFor: Edge['keyFor'] = (scopes, more = {}) => {
    const { text, key } = mintApiKey({ owner: 'shop', scopes });
    keys.set(key.id, { ...key, ...more });
    return text;
  };
  const publishKey = keyFor(['publish']);
  const send: Edge['send'] = async (path, { key, ...init } = {}) => {
    const headers = new Headers(init.headers);
    if (key !== undefined) headers.set('authorization', `Bearer ${key}`);
    return app.request(path, { ...init, headers });
  };
  const publishGood = () =>
    send('/v1/messages', {
      method: 'POST',
      key: publishKey,
      headers: { 'content-type': 'application/json' },
      body: '{"topic":"orders","body":1}',
    });
  return { services, published, log, catalogReads: () => catalogReads, keyFor, send, publishGood };
}

export function recordOf(id: MessageId, more: Partial<MessageRecord> = {}): MessageRecord {
  return {
    id,
    owner: 'shop',
    topic: 'orders',
    tag: null,
    key: null,
    state: 'CONFIRMED',
    set: 'hangzhou',
    route: { reason: 'nearest', distanceKm: 3 },
    contentType: 'application/json',
    size: 1,
    sendAttempts: 1,
    acceptedAt: '2026-01-01T00:00:00.000Z',
    storedAt: '2026-01-01T00:00:00.000Z',
    confirmedAt: '2026-01-01T00:00:00.000Z',
    deliverAt: null,
    expiresAt: null,
    lane: null,
    session: null,
    sequence: null,
    batchSize: null,
    transaction: null,
    replayOf: null,
    error: null,
    timeline: [],
    deliveries: [],
    ...more,
  };
}
