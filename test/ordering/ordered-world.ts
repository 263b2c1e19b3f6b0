/** A world for random histories: one database, workers that may die, a webhook that is told what to answer. */
import { systemClock } from '../../shared/clock.ts';
import { mintMessageId, type MessageId } from '../../shared/identifier.ts';
import type { Message, Order } from '../../shared/message/message.ts';
import { createOrderer, type Orderer } from '../../shared/ordering/ordering.ts';
import type { Offer } from '../../shared/sets/set-link.ts';
import type { Sql } from '../../shared/store/database.ts';
import type { DeliveryOutcome } from '../../shared/store/delivery-outcome.ts';
import type { Store } from '../../shared/store/store.ts';
import type { Subscription } from '../../shared/subscriptions/subscription.ts';
import { createTelemetry } from '../../shared/telemetry.ts';

export type WebhookSays = 'done' | 'retry' | 'dead';

export type Step =
  | { readonly does: 'publish'; readonly lane: number }
  | { readonly does: 'sequence'; readonly size: number }
  | { readonly does: 'arrive'; readonly pick: number; readonly worker: number; readonly times: number }
  | { readonly does: 'work'; readonly worker: number; readonly ends: 'awaited' | 'beside' }
  | { readonly does: 'leases end' }
  | { readonly does: 'crash'; readonly worker: number; readonly afterCalls: number };

const subscription: Subscription = {
  name: 'inventory',
  owner: 'acme',
  topic: 'orders',
  endpoint: { function: 'inventory' },
  bindings: ['#'],
  format: 'raw',
  concurrency: 100,
  timeoutMs: 1_000,
  retryDelaysMs: [0],
  secrets: [],
  status: 'active',
};

/** A worker's life: so many calls to its parts, then nothing it does has any effect. */
interface Mortal {
  readonly orderer: Orderer;
  readonly store: Store;
  readonly over: Promise<void>;
  callsLeft: number;
}

const never = new Promise<never>(() => {});

export interface World {
  take(step: Step): Promise<void>;
  /** All that may still come comes, and workers that do not die finish. */
  settle(): Promise<void>;
  readonly violations: readonly string[];
  /** Crashes, and leases that ended under a worker. */
  readonly disturbances: number;
  undecided(): Promise<readonly string[]>;
  /** Items called again though they had not failed. */
  doubled(): readonly string[];
}

export function openWorld(sql: Sql, store: Store, answers: readonly WebhookSays[]): World {
  const set = `set-${crypto.randomUUID().slice(0, 8)}`;
  /** Lanes and sequences: their messages in order. */
  const orders = new Map<string, Message[]>();
  const copies: Message[] = [];
  /** Copies whose arrival was answered: the broker has forgotten them. */
  const acked = new Set<MessageId>();
  const calls = new Map<MessageId, WebhookSays[]>();
  const violations: string[] = [];
  const beside: Promise<unknown>[] = [];
  let asked = 0;
  let disturbances = 0;
  let isSettling = false;

  const isPast = ({ id }: Message): boolean => calls.get(id)?.some((said) => said !== 'retry') === true;
  const hasEffect = ({ id }: Message): boolean => calls.get(id)?.includes('done') === true;

  /** The webhook, behind its guard: what it has done it does not do again. */
  const answer = (message: Message): WebhookSays => {
    const before = calls.get(message.id) ?? [];
    const said = hasEffect(message) ? 'done' : isSettling ? 'done' : (answers[asked++] ?? 'done');
    const order = orders.get(nameOf(message)) ?? [];
    const early = order
      .slice(
        0,
        order.findIndex(({ id }) => id === message.id),
      )
      .filter((each) => !isPast(each));
    if (said === 'done' && !hasEffect(message) && early.length > 0)
      violations.push(`${message.id} of ${nameOf(message)} before ${early.map(({ id }) => id).join(', ')}`);
    calls.set(message.id, [...before, said]);
    return said;
  };

  const call = (message: Message, attempt: number): DeliveryOutcome => {
    const said = answer(message);
    const shared = {
      messageId: message.id,
      subscription: subscription.name,
      attempt,
      durationMs: 1,
      retryAfterMs: 0,
    };
    if (said === 'done') return { ...shared, state: 'DONE', status: 200, error: null };
    return { ...shared, state: said === 'dead' ? 'DEAD' : 'RETRY', status: 503, error: 'busy' };
  };

  const open = (): Mortal => {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const lives = async <T>(work: () => Promise<T> | T): Promise<T> => {
      if (mortal.callsLeft-- <= 0) {
        resolve();
        return never;
      }
      return work();
    };
    const guarded = new Proxy(store, {
      get: (target, name) => {
        const part = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
        return (...args: unknown[]) => lives(() => part(...args));
      },
    });
    const orderer = createOrderer({
      set,
      host: 'worker',
      stores: [guarded],
      clock: systemClock,
      telemetry: createTelemetry(),
      subscription: () => subscription,
      topic: () => ({ name: 'orders', owner: 'acme', type: 'topic', scope: 'anywhere', rules: [] }),
      call: (message, _subscription, attempt) => lives(() => call(message, attempt)),
      resend: async () => 'sent',
      onDue: () => undefined,
      onGap: () => undefined,
      subscribedSinceMs: () => 0,
      onOwed: () => undefined,
    });
    const mortal: Mortal = { orderer, store: guarded, over, callsLeft: Infinity };
    return mortal;
  };
  const workers = [open(), open()];
  const workerAt = (index: number): Mortal => {
    const found = workers[index];
    if (found && found.callsLeft > 0) return found;
    return (workers[index] = open());
  };

  const publish = async (list: readonly Order[]): Promise<void> => {
    const offers = list.map(offerOf);
    await store.commit(offers, { set: `${set}-unsent`, resendAfterMs: 3_600_000 });
    for (const { message } of offers) {
      orders.set(nameOf(message), [...(orders.get(nameOf(message)) ?? []), message]);
      copies.push(message);
    }
  };

  const arrive = async ({ orderer, over }: Mortal, message: Message): Promise<void> => {
    const arrived = await Promise.race([orderer.arrive(message, subscription.name), over]);
    if (arrived === 'astray') violations.push(`${message.id} has no place`);
    if (arrived !== undefined) acked.add(message.id);
  };

  const work = async ({ orderer, store: own, over }: Mortal): Promise<void> => {
    const claimed = await store.claim({ set, kind: 'order', limit: 100, leaseMs: 60_000 });
    await Promise.race([orderer.work(own, claimed, systemClock.nowMs() + 60_000), over]);
  };

  const endLeases = async (): Promise<void> => {
    await sql`UPDATE agenda SET due_at = now() WHERE set_id = ${set}`;
  };

  return {
    violations,
    get disturbances() {
      return disturbances;
    },
    async take(step) {
      switch (step.does) {
        case 'publish':
          return publish([{ kind: 'lane', lane: `${set}-${step.lane}` }]);
        case 'sequence':
          return publish(sequenceOf(step.size));
        case 'arrive': {
          const copy = copies[step.pick % copies.length];
          for (let time = 0; copy && time < step.times; time++) await arrive(workerAt(step.worker), copy);
          return undefined;
        }
        case 'work': {
          const working = work(workerAt(step.worker));
          beside.push(working);
          return step.ends === 'awaited' ? working : undefined;
        }
        case 'leases end':
          disturbances++;
          return endLeases();
        case 'crash':
          disturbances++;
          workerAt(step.worker).callsLeft = step.afterCalls;
          return undefined;
      }
    },
    async settle() {
      isSettling = true;
      await Promise.all(beside);
      const last = open();
      // What was acked does not come again. A lane is whole once its last copy has come; a sequence needs them all.
      for (const order of orders.values())
        for (const message of order[0]?.order?.kind === 'lane' ? order.slice(-1) : order)
          if (!acked.has(message.id)) await arrive(last, message);
      for (let round = 0; round < 50; round++) {
        await endLeases();
        await work(last);
        const [row] = await sql`SELECT count(*)::int AS n FROM agenda WHERE set_id = ${set}`;
        if (row?.['n'] === 0) return;
      }
      violations.push('The agenda never becomes empty.');
    },
    async undecided() {
      const all = [...orders.values()].flat();
      const keys = all.map(({ id }) => ({ messageId: id, subscription: subscription.name }));
      const ended = (await store.deliveries(keys)).filter(
        ({ state }) => state === 'DONE' || state === 'DEAD',
      );
      const known = new Set(ended.map(({ messageId }) => messageId));
      return all.filter((message) => !known.has(message.id) || !isPast(message)).map(({ id }) => id);
    },
    doubled: () =>
      [...calls].flatMap(([id, said]) => (said.slice(0, -1).every((each) => each === 'retry') ? [] : [id])),
  };
}

function nameOf({ order }: Message): string {
  if (order?.kind === 'sequence') return `session ${order.session}`;
  return `lane ${order?.lane}`;
}

function sequenceOf(size: number): readonly Order[] {
  const session = `seq_${crypto.randomUUID()}`;
  return Array.from({ length: size }, (_, index) => ({
    kind: 'sequence',
    session,
    sequence: index + 1,
    size,
    deadlineMs: 3_600_000,
    onGap: 'skip',
  }));
}

function offerOf(order: Order): Offer {
  const id = mintMessageId({ setNumber: 1, shard: 0 }, Date.now());
  const content = { topic: 'orders', mode: 'confirm', contentType: 'text/plain', headers: {} } as const;
  const placement = { set: 'hangzhou', reason: 'nearest' };
  return {
    message: {
      ...content,
      id,
      owner: 'acme',
      body: Buffer.from(id),
      placement,
      acceptedAtMs: Date.now(),
      order,
    },
  };
}
