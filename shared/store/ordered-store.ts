/**
 * The contract of streams: what of a message database serves ordered delivery (shared/ordering/ordering.ts tells the
 * story). A stream is `lane/<topic>/<lane>` or `session/<topic>/<session>` of one subscription. Every function is one
 * round trip for many streams, and each change is guarded by the lease of its stream.
 */
import type { DueEntry, Lease } from '../agenda/agenda.ts';
import type { MessageId } from '../identifier.ts';
import type { DeliveryState } from '../message/lifecycle.ts';
import type { Message, OnGap } from '../message/message.ts';
import type { DeliveryOutcome } from './delivery-outcome.ts';

/** A message that the broker handed out, for the stream it belongs to. */
export interface Arrival {
  readonly messageId: MessageId;
  readonly subscription: string;
  readonly stream: string;
  /**
   * Where the subscription begins in a lane that it has never heard: behind what was stored before this, in Unix
   * milliseconds by the database. Absent: at the beginning.
   */
  readonly sinceMs?: number;
  /** Only of sequences; a lane's entries are numbered already. */
  readonly item?: SequenceItem;
}

/** What an item of a sequence says of itself. */
export interface SequenceItem {
  /** 1 … size. */
  readonly sequence: number;
  readonly size: number;
  readonly deadlineMs: number;
  readonly onGap: OnGap;
  /** Hash of its content: another content under the same number is refused. */
  readonly fingerprint: string;
}

/**
 * `ordered`: its stream knows of it, and wakes if it has something to do; `astray`: it has no place in the order and no
 * outcome either; `refused`: its number is taken by another message; `unclear`: ask again.
 */
export type Arrived = 'ordered' | 'astray' | 'refused' | 'unclear';

/** The lease of a stream. */
export interface StreamLease extends Lease {
  readonly subscription: string;
  readonly stream: string;
}

/** What a stream is to load from: which entries are its own. */
export interface LoadLease extends StreamLease {
  readonly owner: string;
  readonly topic: string;
  /** Undefined for a sequence, whose items have arrived one by one. */
  readonly lane?: string;
  readonly session?: string;
  /** At most so many items, and always whole messages. */
  readonly limit: number;
}

/** The next of a stream. */
export interface StreamItem {
  readonly position: number;
  readonly messageId: MessageId;
  /** Undefined when it is kept no longer. */
  readonly message: Message | undefined;
  /** The delivery as it stands; undefined before the first try. */
  readonly state: DeliveryState | undefined;
  /** Tries so far. */
  readonly attempts: number;
  /** LEASED: until the lease ends; 0 or less when it is over. */
  readonly heldMs?: number;
}

/** A stream at one instant. */
export interface StreamView {
  /** Arrivals counted so far: who saw these items has seen what they signalled. */
  readonly signals: number;
  /** Behind the cursor, in order. */
  readonly items: readonly StreamItem[];
  readonly more: 'none' | 'perhaps';
  /** Only of sequences. */
  readonly assembly?: Assembly;
}

/**
 * GATHERING until all have arrived or the deadline passes; ASKED once what is missing was sent again, until the grace
 * passes; RELEASED: delivered without what is missing; BLOCKED at a gap; ABORTED at one.
 */
export type AssemblyState = 'GATHERING' | 'ASKED' | 'RELEASED' | 'BLOCKED' | 'ABORTED';

/** How far a sequence is gathered. */
export interface Assembly {
  readonly state: AssemblyState;
  readonly size: number;
  readonly arrived: number;
  readonly onGap: OnGap;
  /** All up to here is decided. */
  readonly cursor: number;
  /** Until the deadline, or the end of the grace; 0 or less when it has passed. */
  readonly leftMs: number;
}

/** One step of a stream: an item was called, or passed over. */
export interface StreamStep {
  readonly lease: StreamLease;
  /** Everything up to here is decided, unless the outcome is RETRY. */
  readonly position: number;
  readonly outcome?: DeliveryOutcome;
  /** Close the stream if it still has these signals. */
  readonly closeAt?: number;
}

/** `held`: go on; `closed`: the stream's entry is gone; `lost`: the lease is somebody else's. */
export type Stepped = 'held' | 'closed' | 'lost';

/** A change of a sequence's assembly; it happens only if no item has arrived since it was decided. */
export interface AssemblyChange {
  readonly lease: LoadLease;
  readonly seen: StreamView;
  readonly state: AssemblyState;
  /** All up to here is decided. */
  readonly cursor: number;
  /** What becomes of deliveries: of those that never arrived, or of all that have no end yet, behind `after`. */
  readonly mark?: {
    readonly which: 'missing' | 'open';
    readonly as: 'SKIPPED' | 'BLOCKED';
    readonly after: number;
    readonly through: number;
  };
  /** For the timeline of the messages marked. */
  readonly because: string;
  /** The gap that is decided hereby: told to the sequence's callback, if it has one. */
  readonly gap?: { readonly at: number; readonly why: Gap['why'] };
  /** The deadline moves so far; the stream sleeps so long. */
  readonly restMs: number;
}

/** What is told of a gap: the body of the callback. */
export interface Gap {
  readonly session: string;
  readonly topic: string;
  readonly subscription: string;
  readonly size: number;
  /** `missing`: these items never arrived at the subscription; `dead`: this one's delivery is dead. */
  readonly why: 'missing' | 'dead';
  /** Null: the SET that delivers does not know the item. */
  readonly items: readonly { readonly sequence: number; readonly message: MessageId | null }[];
  readonly onGap: OnGap;
  /** What was decided: RELEASED without these items, BLOCKED, or the rest ABORTED. */
  readonly state: Extract<AssemblyState, 'RELEASED' | 'BLOCKED' | 'ABORTED'>;
  readonly decidedAt: string;
}

export interface GapCallback {
  /** `gap_…`, the same in every try. */
  readonly id: string;
  readonly lease: Lease;
  readonly topic: string;
  readonly subscription: string;
  readonly url: string;
  /** Tries so far. */
  readonly attempts: number;
  readonly gap: Gap;
}

/** What a try to tell of a gap brought. */
export interface GapTold {
  readonly lease: Lease;
  readonly said: string;
  /** When to try again; without it, this was the end. */
  readonly againAfterMs?: number;
}

export interface OrderedStore {
  /** Wakes the lanes that messages arrived for. */
  arrive(arrivals: readonly Arrival[], set: string): Promise<readonly Arrived[]>;
  /** Stores items of sequences, and wakes those that are complete. */
  gather(
    arrivals: readonly Arrival[],
    by: { readonly set: string; readonly host: string },
  ): Promise<readonly Arrived[]>;
  /** Sleeps, unless somebody has arrived since. */
  rest(lease: StreamLease, seen: StreamView, afterMs: number): Promise<void>;
  /** Items of a sequence that were accepted here and have not arrived. */
  missing(lease: LoadLease): Promise<readonly Message[]>;
  /** Says whether it happened. */
  changeAssembly(change: AssemblyChange, host: string): Promise<'changed' | 'overtaken'>;
  /** What is to be told of gaps, for claimed entries of kind `gap`. */
  loadGapCallbacks(entries: readonly DueEntry[]): Promise<readonly GapCallback[]>;
  recordGapTold(told: GapTold, host: string): Promise<void>;
  /** The next items of each stream; undefined where the lease is over. */
  loadStreams(leases: readonly LoadLease[]): Promise<readonly (StreamView | undefined)[]>;
  /** Records outcomes, moves cursors, and closes streams that have nothing left. */
  step(steps: readonly StreamStep[], host: string): Promise<readonly Stepped[]>;
}
