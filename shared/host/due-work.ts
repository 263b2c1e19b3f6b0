/**
 * The due work of a SET: how each kind of agenda entry is handled, by loops while a host lives, or in one go within a
 * budget when a cron function comes by.
 */
import type { AgendaKind, DueEntry } from '../agenda/agenda.ts';
import type { Clock } from '../clock.ts';
import type { Deliverer } from '../delivery/deliver.ts';
import { sendMessages, type SendParts } from '../publish/send.ts';
import type { Store } from '../store/store.ts';
import { startDueLoop, type DueLoop } from './due-loop.ts';

export interface DueWorkParts extends SendParts {
  readonly stores: readonly Store[];
  readonly clock: Clock;
  readonly deliverer: Pick<Deliverer, 'redeliver'>;
  /** The subscriptions are known: what is tried again now has somewhere to go. */
  readonly canRedeliver: () => boolean;
  readonly resendAfterMs: number;
  /** How long the webhook call of a retry may take, with what it waits before. */
  readonly redeliverLeaseMs: () => number;
}

/** How much a short-lived host may do. */
export interface Budget {
  readonly maxMs: number;
  readonly maxItems: number;
}

export interface DueWork {
  /** Claims and handles entries of one kind until there are none or the budget is spent. Returns how many. */
  handle(kind: AgendaKind, budget: Budget): Promise<number>;
  startLoops(): void;
  /** Something falls due after `afterMs`. */
  nudge(afterMs: number): void;
  stop(): Promise<void>;
}

const kinds: readonly AgendaKind[] = ['send', 'redeliver'];
/** Entries under way at once; an entry of kind `send` holds up to 500 messages. */
const capacities: Readonly<Record<AgendaKind, number>> = { send: 4, redeliver: 200 };
/** Others write due work too (crons, other hosts): look at least this often. */
const idleMs = 15_000;

type Handle = (store: Store, entries: readonly DueEntry[], leaseMs: number) => Promise<void>;

export function createDueWork(parts: DueWorkParts): DueWork {
  let loops: readonly DueLoop[] = [];
  const handles: Readonly<Record<AgendaKind, Handle>> = {
    send: (store, entries) => resend(parts, store, entries),
    redeliver: (store, entries, leaseMs) => parts.deliverer.redeliver(store, entries, leaseMs),
  };
  const leasesMs: Readonly<Record<AgendaKind, () => number>> = {
    send: () => parts.confirmTimeoutMs + parts.resendAfterMs,
    redeliver: parts.redeliverLeaseMs,
  };
  // While the broker is away its entries stay unclaimed: nothing could be done with them but to count a try.
  const isReady = (kind: AgendaKind): boolean => (kind === 'send' ? parts.canSend() : parts.canRedeliver());
  const loopOf = (store: Store, kind: AgendaKind): DueLoop =>
    startDueLoop({
      ...parts,
      store,
      kind,
      idleMs,
      capacity: capacities[kind],
      leaseMs: leasesMs[kind],
      isReady: () => isReady(kind),
      handle: (entries, leaseMs) => handles[kind](store, entries, leaseMs),
    });

  return {
    async handle(kind, { maxMs, maxItems }) {
      const endMs = parts.clock.nowMs() + maxMs;
      let handled = 0;
      for (const store of parts.stores) {
        while (isReady(kind) && handled < maxItems && parts.clock.nowMs() < endMs) {
          const limit = Math.min(capacities[kind], maxItems - handled);
          const leaseMs = leasesMs[kind]();
          const entries = await store.claim({ set: parts.set, kind, limit, leaseMs });
          if (entries.length === 0) break;
          await handles[kind](store, entries, leaseMs);
          handled += entries.length;
        }
      }
      return handled;
    },
    startLoops() {
      loops = parts.stores.flatMap((store) => kinds.map((kind) => loopOf(store, kind)));
    },
    nudge(afterMs) {
      for (const loop of loops) loop.nudge(afterMs);
    },
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

/** Sends again what is still READY; an entry whose messages have all ended is over. */
async function resend(parts: SendParts, store: Store, entries: readonly DueEntry[]): Promise<void> {
  const loaded = await store.load(entries.flatMap((entry) => entry.refs));
  const ready = new Map(
    loaded.filter(({ state }) => state === 'READY').map(({ message }) => [message.id, message]),
  );
  await Promise.all(
    entries.map(async (entry) => {
      const messages = entry.refs.flatMap((id) => ready.get(id) ?? []);
      if (messages.length === 0) return store.finish([entry]);
      await sendMessages(parts, store, { lease: entry, messages, attempts: entry.attempts });
      return undefined;
    }),
  );
}
