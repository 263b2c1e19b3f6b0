/**
 * The due work of a SET: every kind of agenda entry with its way of handling, by loops while a host lives, or in one go
 * within a budget when a cron function comes by.
 */
import type { AgendaKind, DueEntry, Rooms } from '../agenda/agenda.ts';
import type { Clock } from '../clock.ts';
import { atMost } from '../deadline.ts';
import type { Store } from '../store/store.ts';
import type { Telemetry } from '../telemetry.ts';
import { startDueLoop, type DueLoop, type Held } from './due-loop.ts';

/** How entries of one kind are handled. */
export interface DueHandler {
  /** Entries under way at once. */
  readonly capacity: number;
  /** Whether a live host waits for all entries of a claim before it counts any of them as ended. */
  readonly grouping?: 'together' | 'one by one';
  /** Present: what each subscription may still take, given what it has under way here. */
  readonly rooms?: (held: Held) => Rooms;
  /** Longer than the handling can take. */
  readonly leaseMs: () => number;
  /** False while there is no use in claiming: the broker is away, say. */
  readonly isReady: () => boolean;
  /** Ends, or gives back, every entry; what it leaves falls due again when the lease ends: not before `heldUntilMs`. */
  readonly handle: (store: Store, entries: readonly DueEntry[], heldUntilMs: number) => Promise<void>;
}

export interface DueWorkParts {
  readonly set: string;
  readonly stores: readonly Store[];
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly handlers: Readonly<Record<AgendaKind, DueHandler>>;
}

/** How much a short-lived host may do. */
export interface Budget {
  readonly maxMs: number;
  readonly maxItems: number;
  /** `stay`: until the time is over, each entry at its time. `leave`: until nothing is due now. */
  readonly whenDry?: 'leave' | 'stay';
}

export interface DueWork {
  /** Claims and handles entries of one kind until there are none, the budget is spent or `stop`. Returns how many. */
  handle(kind: AgendaKind, budget: Budget): Promise<number>;
  startLoops(): void;
  /** Something of a kind, or of any, falls due after `afterMs`. */
  nudge(afterMs: number, kind?: AgendaKind): void;
  /** Claims no more; resolves when what is under way has ended. */
  stop(): Promise<void>;
}

/** A visit has handled all it claimed before it claims again. */
const nothingHeld: Held = new Map();
/** Others write due work too (crons, other hosts): look at least this often. */
const idleMs = 15_000;
/** A host that stays looks this often for entries that others wrote. */
const stayMs = 1_000;

export function createDueWork(parts: DueWorkParts): DueWork {
  const kinds = Object.keys(parts.handlers) as AgendaKind[];
  let loops: readonly { readonly kind: AgendaKind; readonly loop: DueLoop }[] = [];
  let isStopped = false;
  const visits = new Set<Promise<number>>();
  const stopping = Promise.withResolvers<void>();

  const loopOf = (store: Store, kind: AgendaKind): DueLoop => {
    const { handle, ...handler } = parts.handlers[kind];
    return startDueLoop({
      ...parts,
      ...handler,
      store,
      kind,
      idleMs,
      handle: (entries, heldUntilMs) => handle(store, entries, heldUntilMs),
    });
  };

  /** What is due now in one database. Returns how many entries. */
  const drain = async (store: Store, kind: AgendaKind, left: () => number): Promise<number> => {
    const { capacity, handle, isReady, leaseMs, rooms } = parts.handlers[kind];
    let handled = 0;
    while (!isStopped && isReady() && left() - handled > 0) {
      const claimMs = leaseMs();
      const heldUntilMs = parts.clock.nowMs() + claimMs;
      const limit = Math.min(capacity, left() - handled);
      const claim = { set: parts.set, kind, limit, leaseMs: claimMs, rooms: rooms?.(nothingHeld) };
      const entries = await store.claim(claim);
      if (entries.length === 0) break;
      await handle(store, entries, heldUntilMs);
      handled += entries.length;
    }
    return handled;
  };

  /** How long until the next entry falls due in any database. */
  const nextMs = async (kind: AgendaKind): Promise<number> => {
    const rooms = parts.handlers[kind].rooms?.(nothingHeld);
    const nexts = await Promise.all(parts.stores.map((store) => store.nextDueInMs(parts.set, [kind], rooms)));
    return Math.max(0, Math.min(stayMs, ...nexts.map((next) => next ?? stayMs)));
  };

  const visit = async (kind: AgendaKind, { maxMs, maxItems, whenDry = 'leave' }: Budget): Promise<number> => {
    const endMs = parts.clock.nowMs() + maxMs;
    const isOver = (): boolean => isStopped || parts.clock.nowMs() >= endMs;
    let handled = 0;
    for (;;) {
      for (const store of parts.stores)
        handled += await drain(store, kind, () => (isOver() ? 0 : maxItems - handled));
      if (whenDry === 'leave' || isOver() || handled >= maxItems) return handled;
      await atMost(parts.clock, await nextMs(kind), stopping.promise);
    }
  };

  return {
    async handle(kind, budget) {
      const visiting = visit(kind, budget);
      visits.add(visiting);
      return visiting.finally(() => visits.delete(visiting));
    },
    startLoops() {
      loops = parts.stores.flatMap((store) => kinds.map((kind) => ({ kind, loop: loopOf(store, kind) })));
    },
    nudge(afterMs, kind) {
      for (const each of loops) if (kind === undefined || each.kind === kind) each.loop.nudge(afterMs);
    },
    async stop() {
      isStopped = true;
      stopping.resolve();
      await Promise.all([...loops.map(({ loop }) => loop.stop()), Promise.allSettled(visits)]);
    },
  };
}
