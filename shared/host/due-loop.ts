/**
 * A live host's clock for due work of one kind in one database: claim what is due, hand it on, sleep until the next
 * entry falls due. It sleeps no longer than `idleMs`, because others write entries too.
 */
import type { AgendaKind, DueEntry, Rooms } from '../agenda/agenda.ts';
import type { Clock } from '../clock.ts';
import type { Store } from '../store/store.ts';
import type { Telemetry } from '../telemetry.ts';

export interface DueLoopParts {
  readonly set: string;
  readonly store: Store;
  readonly kind: AgendaKind;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Entries under way at once. */
  readonly capacity: number;
  /** `one by one`: each entry of a claim gives its place free when it has ended. */
  readonly grouping?: 'together' | 'one by one';
  /** Present: what each subscription may still take, given what it has under way here. */
  readonly rooms?: ((held: Held) => Rooms) | undefined;
  readonly leaseMs: () => number;
  readonly idleMs: number;
  /** False while there is no use in claiming: the broker is away, say. */
  readonly isReady: () => boolean;
  /** @param heldUntilMs counted from before the claim: its answer may have waited while the process slept */
  readonly handle: (entries: readonly DueEntry[], heldUntilMs: number) => Promise<void>;
}

/** Entries under way by subscription. */
export type Held = ReadonlyMap<string, number>;

export interface DueLoop {
  /** Something falls due after `afterMs`: wake by then. */
  nudge(afterMs: number): void;
  /** Claims no more; resolves when what is under way has ended. */
  stop(): Promise<void>;
}

/** Entries that end at about the same time make room for one claim. */
const togetherMs = 5;
/** A database that failed may be back soon, and then much is due. */
const failedMs = 1_000;

export function startDueLoop(parts: DueLoopParts): DueLoop {
  let underWay = 0;
  let isStopped = false;
  let isTurning = false;
  /** Something fell due while a claim was under way, perhaps after the claim had looked. */
  let isMissed = false;
  let wakeAtMs = Number.POSITIVE_INFINITY;
  let cancelWake = (): void => undefined;
  let whenIdle: (() => void) | undefined;
  const held = new Map<string, number>();

  const hold = (entries: readonly DueEntry[], change: 1 | -1): void => {
    underWay += change * entries.length;
    for (const { subscription } of entries) {
      if (subscription === null) continue;
      const left = (held.get(subscription) ?? 0) + change;
      if (left > 0) held.set(subscription, left);
      else held.delete(subscription);
    }
  };

  const wake = (exactMs: number): void => {
    // Timers drop fractions: a claim before its time would find nothing.
    const afterMs = Math.max(0, Math.ceil(exactMs));
    const atMs = parts.clock.nowMs() + afterMs;
    if (isStopped || atMs >= wakeAtMs) return;
    cancelWake();
    wakeAtMs = atMs;
    cancelWake = parts.clock.after(afterMs, () => void turn());
  };

  const handle = async (entries: readonly DueEntry[], heldUntilMs: number): Promise<void> => {
    hold(entries, 1);
    // What fails stays claimed and falls due again when its lease ends.
    await parts.handle(entries, heldUntilMs).catch(() => undefined);
    hold(entries, -1);
    if (underWay === 0) whenIdle?.();
    wake(parts.rooms ? togetherMs : 0);
  };

  const turn = async (): Promise<void> => {
    wakeAtMs = Number.POSITIVE_INFINITY;
    if (isTurning) isMissed = true;
    if (isTurning || isStopped) return;
    isTurning = true;
    isMissed = false;
    const afterMs = await claim().catch(() => failedMs);
    isTurning = false;
    wake(isMissed ? 0 : afterMs);
  };

  /** @returns after how long to look again */
  const claim = async (): Promise<number> => {
    const limit = parts.capacity - underWay;
    if (limit <= 0 || !parts.isReady()) return parts.idleMs;
    const { set, store, kind } = parts;
    const leaseMs = parts.leaseMs();
    const heldUntilMs = parts.clock.nowMs() + leaseMs;
    const entries = await store.claim({ set, kind, limit, leaseMs, rooms: parts.rooms?.(held) });
    for (const { lateMs } of entries)
      parts.telemetry.observe('setway_due_lateness_seconds', { set, kind }, lateMs / 1000);
    if (parts.grouping === 'one by one') for (const entry of entries) void handle([entry], heldUntilMs);
    else if (entries.length > 0) void handle(entries, heldUntilMs);
    if (entries.length === limit) return 0;
    const nextMs = await store.nextDueInMs(set, [kind], parts.rooms?.(held));
    return Math.min(nextMs ?? parts.idleMs, parts.idleMs);
  };

  wake(0);
  return {
    nudge: wake,
    async stop() {
      isStopped = true;
      cancelWake();
      if (underWay > 0) await new Promise<void>((resolve) => (whenIdle = resolve));
    },
  };
}
