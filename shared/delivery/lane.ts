/**
 * The deliveries of one subscription on one host: a queue (high priority first), and at most `concurrency` webhook calls under way. A slow
 * webhook fills its own lane and nobody else's.
 *
 * While its gate is shut (the breaker is open, or the rate is used up) dispatches wait here, each as long as it has
 * patience, and then go back deferred: what the broker handed out may not stay unacked without end, what the agenda
 * leased not beyond its lease.
 */
import type { Clock } from '../clock.ts';
import type { Answer, Courier, Dispatch } from './courier.ts';
import type { Gate } from './gate.ts';
import { busyKeyMs, keyOf, type KeyLeases } from './key-leases.ts';

/** Not begun, and there is no use in asking again before this long. */
export interface Deferred {
  readonly deferMs: number;
}

export type Carried = Answer | 'not-begun' | Deferred;

export interface Wish {
  /** Asked when a slot is free; without it, always. */
  readonly isWanted?: () => boolean;
  /** Told that the call begins. */
  readonly onBegin?: () => void;
  /** How long it may wait for a gate that is shut. */
  readonly patienceMs?: number;
}

export interface Lane {
  /**
   * Resolves with what the webhook answered, or with `not-begun` when no slot was free while it was wanted, or deferred;
   * rejects when the courier itself failed and nothing is known.
   */
  carry(dispatch: Dispatch, wish?: Wish): Promise<Carried>;
  /** Dispatches waiting or under way. */
  readonly load: number;
  /** From now on nothing waits for a gate that is shut. */
  leave(): void;
}

export interface LaneParts {
  readonly courier: Courier;
  readonly clock: Clock;
  /** Asked anew each time, because a subscription may change. */
  readonly concurrency: () => number;
  readonly gate: Gate;
  /** Present: deliveries of one key never overlap. */
  readonly keys: () => KeyLeases | undefined;
}

interface Waiting {
  readonly dispatch: Dispatch;
  readonly wish: Wish;
  /** Until when it may wait for the gate. */
  readonly untilMs: number;
  readonly resolve: (answer: Carried) => void;
  readonly reject: (error: unknown) => void;
}

/** A gate that waits for a call under way is asked again when that has ended; at the latest after this long. */
const longestLookMs = 30_000;

/** Keys that another host has at work go back for a moment. */
async function carryAll(
  courier: Courier,
  leases: KeyLeases | undefined,
  slice: readonly Dispatch[],
): Promise<readonly (Answer | Deferred | undefined)[]> {
  if (!leases) return courier.carry(slice);
  const isHeld = await leases.hold(slice);
  const held = slice.filter((_, index) => isHeld[index]);
  try {
    const answers = (held.length > 0 ? await courier.carry(held) : []).values();
    return slice.map((_, index) => (isHeld[index] ? answers.next().value : { deferMs: busyKeyMs }));
  } finally {
    await leases.release(held);
  }
}

function isHigh({ dispatch }: Waiting): boolean {
  return dispatch.message.priority === 'high';
}

export function createLane({ courier, clock, concurrency, gate, keys }: LaneParts): Lane {
  let waiting: Waiting[] = [];
  let underWay = 0;
  let isPumpDue = false;
  let isLeaving = false;
  let cancelLook = (): void => undefined;
  const busyKeys = new Set<string>();

  const run = async (slice: readonly Waiting[]): Promise<void> => {
    try {
      const answers = await carryAll(
        courier,
        keys(),
        slice.map(({ dispatch }) => dispatch),
      );
      slice.forEach(({ resolve, reject }, index) => {
        const answer = answers[index];
        gate.ended(answer && 'verdict' in answer ? answer : undefined);
        if (answer) resolve(answer);
        else reject(new RangeError('The courier brought back fewer answers than dispatches.'));
      });
    } catch (error) {
      for (const { reject } of slice) {
        gate.ended(undefined);
        reject(error);
      }
    } finally {
      underWay -= slice.length;
      for (const { dispatch } of slice) busyKeys.delete(keyOf(dispatch) ?? '');
      pump();
    }
  };

  /** Where the first one stands whose key is not at work; the end when there is none. */
  const nextAt = (): number => {
    if (busyKeys.size === 0 || !keys()) return 0;
    const at = waiting.findIndex(({ dispatch }) => !busyKeys.has(keyOf(dispatch) ?? ''));
    return at === -1 ? waiting.length : at;
  };

  /** Takes what may begin now: until the slice is full, or the gate shuts behind one. */
  const takeSlice = (most: number): readonly Waiting[] => {
    const slice: Waiting[] = [];
    while (slice.length < most && nextAt() < waiting.length && gate.waitMs() === 0) {
      const [next] = waiting.splice(nextAt(), 1);
      if (!next) break;
      if (next.wish.isWanted?.() === false) {
        next.resolve('not-begun');
        continue;
      }
      next.wish.onBegin?.();
      const key = keys() && keyOf(next.dispatch);
      if (key !== undefined) busyKeys.add(key);
      gate.began();
      slice.push(next);
    }
    return slice;
  };

  const pump = (): void => {
    isPumpDue = false;
    while (waiting.length > 0 && underWay < concurrency()) {
      const slice = takeSlice(Math.min(courier.sliceSize, concurrency() - underWay));
      underWay += slice.length;
      if (slice.length > 0) void run(slice);
      else break;
    }
    cancelLook();
    if (waiting.length > 0) waitForGate(gate.waitMs());
  };

  /** Sends away whose patience ends before the gate opens, and looks again when it does. */
  const waitForGate = (waitMs: number): void => {
    if (waitMs === 0) return;
    const nowMs = clock.nowMs();
    const impatient = waiting.filter(({ untilMs }) =>
      waitMs === Infinity ? untilMs <= nowMs : untilMs < nowMs + waitMs,
    );
    const gone = isLeaving ? waiting : impatient;
    if (gone.length > 0) waiting = waiting.filter((each) => !gone.includes(each));
    const deferMs = Math.min(waitMs, longestLookMs * 20);
    for (const { resolve } of gone) resolve({ deferMs: waitMs === Infinity ? longestLookMs : deferMs });
    if (waiting.length > 0) cancelLook = clock.after(Math.min(waitMs, longestLookMs), pump);
  };

  /** A message of high priority goes before the normal ones that wait, behind those of its kind. */
  const enqueue = (each: Waiting): void => {
    const at = isHigh(each) ? waiting.findIndex((other) => !isHigh(other)) : -1;
    if (at === -1) waiting.push(each);
    else waiting.splice(at, 0, each);
  };

  return {
    get load() {
      return waiting.length + underWay;
    },
    leave() {
      isLeaving = true;
      pump();
    },
    carry(dispatch, wish = {}) {
      return new Promise((resolve, reject) => {
        const untilMs = clock.nowMs() + (wish.patienceMs ?? 0);
        enqueue({ dispatch, wish, untilMs, resolve, reject });
        if (isPumpDue) return;
        isPumpDue = true;
        queueMicrotask(pump); // messages that arrive in one socket read leave in one slice
      });
    },
  };
}
