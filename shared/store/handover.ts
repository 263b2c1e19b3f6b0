/**
 * The contract of one database whose SET is taken over, or that takes over from another: what leaves, what comes in. Every
 * function may be repeated; shared/fleet/take-over.ts tells the story.
 */
import type { MessageId } from '../identifier.ts';
import type { Holding } from '../sets/ownership.ts';
import type { Tenure } from '../sets/tenure.ts';

/** Who hears what, as the SET that is left has it. */
export interface Hearer {
  readonly subscription: string;
  readonly owner: string;
  readonly topic: string;
  /** See `tagPattern`. */
  readonly pattern: string;
  /** Since when it hears this, in Unix milliseconds. */
  readonly sinceMs: number;
  /** Decides what it is owed; without it, everything. */
  readonly filter?: string | undefined;
}

/** Messages with all they have, as they travel. */
export interface Goods {
  readonly messages: readonly Departing[];
  /** Rows by table; nobody but the databases reads them. */
  readonly rows: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;
}

export interface Departing {
  readonly id: MessageId;
  readonly topic: string;
  readonly lane: string | null;
  /** What it is ordered in, if it is. */
  readonly stream: string | null;
  /** Who keeps a copy. */
  readonly mirror: string | null;
}

/** Who gets what a SET leaves. */
export interface TakeOverPlan {
  /** All buckets as they will be: lanes go where theirs is. */
  readonly holdings: readonly Holding[];
  /** Those of them that were the SET's until then. */
  readonly given: readonly Holding[];
  /** Everything else. */
  readonly heir: string;
  /** What may not leave the centers, lanes too. */
  readonly central: string;
}

export interface HandoverProgress {
  /** Messages that have yet to leave. */
  readonly pending: number;
  /** The take-over of the tenure that stands now is complete. */
  readonly state: 'none' | 'begun' | 'ended';
  readonly tenure: Tenure;
}

/** Whose a SET's messages are in one of its databases. */
export interface Footing {
  readonly tenure: Tenure;
  /** When the last one left, in Unix milliseconds; undefined when none has. */
  readonly lastLeftAtMs: number | undefined;
}

export interface Handover {
  /** Takes the tenure from the SET's hosts, after what they have in flight. @returns its epoch */
  fence(set: string): Promise<number>;
  /** Lets them work again. @throws Problem `conflict` when it is not fenced at this epoch any more */
  unfence(set: string, epoch: number): Promise<number>;
  progress(set: string): Promise<HandoverProgress>;
  /**
   * Lists what leaves, once per tenure, with who gets it.
   * @returns the plan of whoever came first. @throws Problem `conflict` when the SET is not fenced
   */
  plan(set: string, hearers: readonly Hearer[], wanted: TakeOverPlan): Promise<TakeOverPlan>;
  /** The next that leave, in order; what belongs together comes together. */
  next(set: string, hearers: readonly Hearer[], limit: number): Promise<Goods>;
  /** Takes goods in for a SET; what is here already stays. @throws Problem `set-fenced` */
  takeIn(target: string, origin: string, goods: Goods, hearers: readonly Hearer[]): Promise<void>;
  /** They are with `target` now. */
  sendOff(set: string, target: string, goods: Goods, hearers: readonly Hearer[]): Promise<void>;
  /** Schedules, and what is still to be told. */
  belongings(set: string): Promise<Goods>;
  takeInBelongings(target: string, goods: Goods): Promise<void>;
  /** They are elsewhere, and nothing is left to do here. */
  end(set: string, goods: Goods): Promise<void>;
  footing(set: string): Promise<Footing>;
  /** What the SET gave away when it was taken over last; undefined when it never was. */
  lastPlan(set: string): Promise<TakeOverPlan | undefined>;
  /** Which of these have left. */
  departed(ids: readonly MessageId[]): Promise<ReadonlySet<MessageId>>;
}
