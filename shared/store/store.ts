/**
 * The contract of one message database (a shard of a SET). Every function is one round trip, takes many rows, and
 * guards each change of state, so that it may run twice, late, or beside another.
 */
import type { Agenda, DueEntry, Lease } from '../agenda/agenda.ts';
import type { MessageId, RedriveId, ScheduleId, TransactionId } from '../identifier.ts';
import type { DeliveryState, MessageState } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type {
  DeadLetter,
  DeadLetterSearch,
  RedriveRecord,
  RedriveStart,
  ReplayRequest,
} from '../sets/dead-letters.ts';
import type { AnswerEffect } from '../sets/delivery-answer.ts';
import type { FoundMessage, MessageSearch, ScheduledQuery } from '../sets/search.ts';
import type {
  DueSchedule,
  Schedule,
  ScheduleChange,
  ScheduleMove,
  ScheduleRecord,
} from '../sets/schedule.ts';
import type { CopyStore } from './copy-store.ts';
import type { AnswerToRecord, DeliveryOutcome } from './delivery-outcome.ts';
import type { OrderedStore } from './ordered-store.ts';
import type {
  Change,
  ChangeRequest,
  DecisionRequest,
  MessageRecord,
  MoveRequest,
  Offer,
  Receipt,
  TransactionRecord,
  SequenceRecord,
} from '../sets/set-link.ts';

/** What a group commit did. */
export interface Commit {
  /** One receipt per offer, in order. */
  readonly receipts: readonly Receipt[];
  /** The agenda entry that covers all messages stored READY now; absent when there are none. */
  readonly lease?: Lease;
  /** When the first of the messages stored SCHEDULED now falls due. */
  readonly dueInMs?: number;
  /** When the first producer of a transaction prepared now is asked. */
  readonly checkInMs?: number;
}

export interface CommitOptions {
  readonly set: string;
  /** When somebody else should send what this host has not settled by then. Longer than a confirm may take. */
  readonly resendAfterMs: number;
}

/** What the broker said of the messages of one agenda entry. */
export interface Settlement {
  readonly lease: Lease;
  readonly confirmed: readonly MessageId[];
  readonly unroutable: readonly MessageId[];
  /** Given up after the last try. */
  readonly failed: readonly MessageId[];
  /** To be sent again under the same ids. */
  readonly again: readonly MessageId[];
  readonly againAfterMs: number;
}

export interface StoredMessage {
  readonly message: Message;
  readonly state: MessageState;
}

export interface DeliveryKey {
  readonly messageId: MessageId;
  readonly subscription: string;
}

export interface DeliveryStatus extends DeliveryKey {
  readonly state: DeliveryState;
  readonly attempts: number;
  /** The agenda entry that goes on with it, as far as it is known. */
  readonly entry: string | null;
}

/** What is still to be told of a delivery that has ended. */
export interface EndCallback {
  readonly lease: Lease;
  readonly url: string;
  /** How often it was tried before. */
  readonly attempts: number;
  /** The body, as it is told. */
  readonly content: {
    readonly message: MessageId;
    readonly topic: string | null;
    readonly subscription: string;
    readonly state: string;
    readonly attempts: number;
    readonly status: number | null;
    readonly error: string | null;
    /** The first 1 KiB of the webhook's answer. */
    readonly answer: string | null;
    readonly endedAt: string;
  };
}

export interface EndTold {
  readonly lease: Lease;
  /** For the timeline, if this is the end. */
  readonly said: string;
  /** When to try again; without it, never. */
  readonly againAfterMs?: number;
}

/** A key of a subscription that somebody has at work. */
export interface HeldKey {
  readonly subscription: string;
  readonly key: string;
}

export interface KeyHold extends HeldKey {
  readonly forMs: number;
}

export interface Retention {
  /** Days of messages kept, today not counted. */
  readonly days: number;
  readonly idempotencyHours: number;
}

/** A claimed entry of kind `redrive`. */
export interface RedriveEntry extends Lease {
  readonly id: RedriveId;
}

/** What a step of a redrive did. */
export interface RedriveStep {
  /** Deliveries it began. */
  readonly handled: number;
  readonly state: RedriveRecord['state'];
}

/** A subscription as the audit sees it. */
export interface Listener {
  readonly subscription: string;
  readonly topic: string;
  /** See `tagPattern`. */
  readonly pattern: string;
  /** Since when it hears this, in Unix milliseconds. */
  readonly sinceMs: number;
  /** `behind`: what it has not got may still come. */
  readonly pace: 'up' | 'behind';
  /** `kept`: its ordered messages wait for their turn; `none`: whoever takes them sees to that. */
  readonly order: 'kept' | 'none';
  /** Decides what it is owed; without it, everything. */
  readonly filter?: string | undefined;
}

/** A message that a subscription with a filter has no outcome for. */
export interface FilteredDelivery extends DeliveryKey {
  /** Whether the note of the message is over with this, or kept for another subscription. */
  readonly note: 'over' | 'kept';
}

/** What its filter says. */
export interface FilteredVerdict extends FilteredDelivery {
  readonly isOwed: boolean;
}

export interface AuditOptions {
  readonly set: string;
  readonly topics: readonly string[];
  readonly listeners: readonly Listener[];
  /** How far behind the present the audit looks. */
  readonly afterMs: number;
  readonly limit: number;
}

export interface AuditFindings {
  readonly looked: number;
  /** Messages that had lost their agenda entry. */
  readonly replanned: number;
  /** Deliveries that were missing. */
  readonly resent: number;
  /** Still to be asked of a filter, and settled. */
  readonly filtered: readonly FilteredDelivery[];
  readonly isThereMore: boolean;
}

export interface ReadyOptions {
  readonly set: string;
  readonly host: string;
  readonly resendAfterMs: number;
}

/** Messages that may be sent now, under one agenda entry of kind `send`; without it there are none. */
export interface MadeReady {
  readonly lease?: Lease;
  readonly messages: readonly Message[];
}

/** What a move did, and when the message falls due now. */
export interface Moved {
  readonly change: Change;
  readonly dueInMs?: number;
}

/** A decision, and what it made ready: nothing when somebody had decided before. */
export interface Decided extends MadeReady {
  readonly transaction: TransactionRecord;
  /** When the first of the messages that became SCHEDULED falls due. */
  readonly dueInMs?: number;
}

/** What a check brought that decides nothing. */
export interface FruitlessCheck {
  readonly lease: Lease;
  readonly id: TransactionId;
  readonly said: string;
  /** When to ask again; without it, never: the transaction is parked. */
  readonly againAfterMs?: number;
  readonly host: string;
}

/** A message whose copy is not needed any more, and the SET that keeps it. */
export interface EndedCopy {
  readonly id: MessageId;
  readonly mirror: string;
}

export interface PullOptions {
  readonly set: string;
  readonly host: string;
  readonly subscription: string;
  readonly max: number;
  /** Leases no further message once their bodies are so many bytes. */
  readonly maxBytes: number;
  readonly leaseMs: number;
}

export interface LeasedMessage {
  readonly message: Message;
  readonly attempt: number;
}

export interface Store extends Agenda, OrderedStore, CopyStore {
  /**
   * Commits offers, units whole or not at all, with one agenda entry for all that may be sent now. Equal ids and equal
   * idempotency keys are duplicates.
   */
  commit(offers: readonly Offer[], options: CommitOptions): Promise<Commit>;
  /** Writes what the broker said and replaces the entry by one for what is to be sent again. */
  settle(settlement: Settlement): Promise<void>;
  /** Ends claimed `release` entries and makes READY what is due of them. */
  makeReady(entries: readonly DueEntry[], options: ReadyOptions): Promise<MadeReady>;
  /** Cancels a scheduled message, unless it was released first. Undefined: the owner has no such message. */
  cancel(request: ChangeRequest, set: string): Promise<Change | undefined>;
  /** Gives a scheduled message another time, unless it was released first. */
  move(request: MoveRequest, set: string): Promise<Moved | undefined>;
  /** An owner's scheduled messages in the order they fall due. */
  listScheduled(query: ScheduledQuery, set: string): Promise<readonly FoundMessage[]>;
  /**
   * The first terminal decision of a transaction wins.
   * @returns undefined when there is no such transaction of this owner
   */
  decide(request: DecisionRequest, options: ReadyOptions): Promise<Decided | undefined>;
  findTransaction(id: TransactionId): Promise<TransactionRecord | undefined>;
  /** Writes what a check brought, and when to ask again, or parks the transaction. */
  recordCheck(check: FruitlessCheck): Promise<void>;
  /** Messages with bodies, those found, in no order. */
  load(ids: readonly MessageId[]): Promise<readonly StoredMessage[]>;
  find(id: MessageId): Promise<MessageRecord | undefined>;
  sequence(owner: string, session: string): Promise<SequenceRecord | undefined>;
  /** Messages of one owner, newest first. */
  search(set: string, search: MessageSearch): Promise<readonly FoundMessage[]>;
  /** Deliveries of one owner that are dead, the newest first. */
  deadLetters(search: DeadLetterSearch): Promise<readonly DeadLetter[]>;
  /** Writes a redrive with its agenda entry, once. */
  beginRedrive(set: string, start: RedriveStart): Promise<RedriveRecord>;
  findRedrive(id: RedriveId): Promise<RedriveRecord | undefined>;
  /** The next step of a redrive, while its lease is held. */
  stepRedrive(by: { readonly set: string; readonly host: string }, entry: RedriveEntry): Promise<RedriveStep>;
  /** @returns undefined when there is no such message of this owner. @throws Problem `conflict` */
  replay(set: string, request: ReplayRequest): Promise<Receipt | undefined>;
  /** Writes a schedule with its agenda entry, once. @throws Problem `conflict` when there are too many */
  createSchedule(set: string, schedule: Schedule): Promise<ScheduleRecord>;
  findSchedule(id: ScheduleId): Promise<ScheduleRecord | undefined>;
  listSchedules(owner: string): Promise<readonly ScheduleRecord[]>;
  /** @returns the schedule as it is then, or was; undefined when there is no such schedule of this owner */
  changeSchedule(set: string, change: ScheduleChange): Promise<ScheduleRecord | undefined>;
  /** The active schedules of claimed entries. */
  loadSchedules(entries: readonly DueEntry[]): Promise<readonly DueSchedule[]>;
  /** Moves schedules and their entries to the next ticks, each while its lease is held. */
  moveSchedules(moves: readonly ScheduleMove[]): Promise<void>;
  /** Looks through the next messages in the order they were stored, and repairs what is missing. */
  audit(options: AuditOptions): Promise<AuditFindings>;
  /** Settles what an audit left to filters. @returns how many deliveries were owed */
  settleFiltered(set: string, verdicts: readonly FilteredVerdict[]): Promise<number>;
  /** Records outcomes, their attempts, and the agenda entries of retries and leases. @returns what got such an entry */
  record(
    outcomes: readonly DeliveryOutcome[],
    by: { readonly set: string; readonly host: string },
  ): Promise<readonly DeliveryKey[]>;
  /** Leases deliveries that wait to be pulled; nobody else gets them meanwhile. */
  lease(options: PullOptions): Promise<readonly LeasedMessage[]>;
  /** How soon a delivery may be pulled: 0 or less when one waits; undefined when there is none. */
  nextWaitingInMs(subscription: string): Promise<number | undefined>;
  /** What consumers say of deliveries they hold, or held; callbacks of those that end are written with it. @returns what came of each, in order */
  answer(
    answers: readonly AnswerToRecord[],
    by: { readonly set: string; readonly host: string },
  ): Promise<readonly AnswerEffect[]>;
  /** The callbacks of claimed entries of kind `callback`. */
  loadEndCallbacks(entries: readonly DueEntry[]): Promise<readonly EndCallback[]>;
  recordEndTold(told: EndTold, host: string): Promise<void>;
  /** Takes keys that nobody else has at work. @returns which of them are ours now */
  holdKeys(wanted: readonly KeyHold[], host: string): Promise<readonly boolean[]>;
  releaseKeys(held: readonly HeldKey[], host: string): Promise<void>;
  deliveries(keys: readonly DeliveryKey[]): Promise<readonly DeliveryStatus[]>;
  /** Messages of which nobody needs to keep a copy any more, the oldest first. */
  endedCopies(set: string, limit: number): Promise<readonly EndedCopy[]>;
  /** Their copies are gone. */
  forgetCopies(ids: readonly MessageId[]): Promise<void>;
  /** Makes the coming days' partitions and drops those behind the retention. Returns how many of each. */
  rotate(retention: Retention): Promise<{ readonly made: number; readonly dropped: number }>;
}
