/**
 * The contract an edge speaks to a SET. Three ways to hold it: in-process (Node), Durable Object RPC (Cloudflare),
 * HTTP with a service token (a SET host in another region). Answers are plain data; failures are Problems.
 */
import type { MessageId, RedriveId, ScheduleId, TransactionId } from '../identifier.ts';
import type { MessageState, DeliveryState } from '../message/lifecycle.ts';
import type { Due, Message } from '../message/message.ts';
import type { ProblemData } from '../problem.ts';
import type { Sample } from '../telemetry.ts';
import type {
  DeadLetter,
  DeadLetterSearch,
  RedriveRecord,
  RedriveStart,
  ReplayRequest,
} from './dead-letters.ts';
import type { FederationView } from './federation-view.ts';
import type { AnswerEffect, DeliveryAnswer } from './delivery-answer.ts';
import type { PulledMessage, PullRequest } from './pull.ts';
import type { FoundMessage, MessageSearch, ScheduledQuery } from './search.ts';
import type { Schedule, ScheduleChange, ScheduleRecord } from './schedule.ts';

/** The transaction that decides whether a half message is ever sent. */
export interface Preparation {
  readonly id: TransactionId;
  /** Asked when the producer stays silent; absent: never asked, parked after the last check would have been. */
  readonly checkUrl?: string;
  readonly firstCheckAfterMs: number;
}

/** One message offered to a SET. */
export interface Offer {
  readonly message: Message;
  /** Stored as SCHEDULED until then; in the past: sent at once. */
  readonly due?: Due;
  /** Stored as HALF: sent only after the transaction's commit. */
  readonly transaction?: Preparation;
  /** Offers of one unit are stored together or not at all; alone without it. Only the first of a unit carries `idempotency`. */
  readonly unit?: string;
  /** Second half of the client's `Idempotency-Key`: unique per owner in the SET's database. */
  readonly idempotency?: { readonly keyHash: string; readonly fingerprint: string };
  /** Of a lane: its bucket, and the epoch at which the SET is believed to have it; refused `misrouted` if it has not. */
  readonly home?: { readonly bucket: number; readonly epoch: number } | undefined;
  /** Absent: `stored`. `mirrored`: another SET keeps a copy before this one takes it. */
  readonly durability?: 'mirrored' | undefined;
  /** The SET that keeps the copy: said by the SET that takes the offer. */
  readonly mirror?: string | undefined;
}

/** What a SET answers for one offer. */
export interface Receipt {
  /** The id the message is stored under: another one than offered if the idempotency key was known already. */
  readonly id: MessageId;
  /** `SENT` is a `fast` message handed to the broker. */
  readonly state: MessageState | 'SENT';
  /** The same id or the same idempotency key was stored before; nothing was stored now. */
  readonly duplicate: boolean;
  /** The idempotency key was used with another request. */
  readonly mismatch?: boolean;
  /** This offer (with its unit) was refused, the others of the call were not; then the rest says nothing. */
  readonly refusal?: ProblemData;
}

export interface AcceptOptions {
  /** Wait up to this long for the broker's confirm before answering; 0 answers once stored. */
  readonly waitMs: number;
}

/** One webhook call. */
export interface Attempt {
  readonly attempt: number;
  readonly at: string;
  readonly host: string;
  readonly status: number | null;
  readonly outcome: DeliveryState;
  readonly durationMs: number;
  readonly error: string | null;
}

export interface DeliveryRecord {
  readonly subscription: string;
  readonly state: DeliveryState;
  readonly attempts: readonly Attempt[];
  readonly nextAttemptAt: string | null;
}

/** One change of a message, or one call of a webhook. What does not apply is absent. */
export interface TimelineEntry {
  readonly at: string;
  /** accepted, stored, scheduled, confirmed, unroutable, failed, attempt; others as their log has them. */
  readonly change: string;
  /** The host, the key's owner, or which part. */
  readonly by: string;
  readonly set: string;
  readonly detail?: string;
  readonly subscription?: string;
  readonly attempt?: number;
  readonly outcome?: DeliveryState;
  readonly status?: number | null;
  readonly durationMs?: number;
  readonly error?: string | null;
}

/** A message as kept by its SET, with everything that happened to it. */
export interface MessageRecord {
  readonly id: MessageId;
  readonly owner: string;
  readonly topic: string;
  readonly tag: string | null;
  readonly key: string | null;
  readonly state: MessageState;
  readonly set: string;
  readonly route: { readonly reason: string; readonly distanceKm: number | null };
  readonly contentType: string;
  readonly size: number;
  readonly sendAttempts: number;
  readonly acceptedAt: string;
  readonly storedAt: string;
  readonly confirmedAt: string | null;
  readonly lane: string | null;
  readonly session: string | null;
  readonly sequence: number | null;
  /** Items, when it is a batch. */
  readonly batchSize: number | null;
  readonly transaction: TransactionId | null;
  readonly replayOf: MessageId | null;
  /** When a message that was given a time falls due, or fell due. */
  readonly deliverAt: string | null;
  readonly expiresAt: string | null;
  readonly error: string | null;
  readonly timeline: readonly TimelineEntry[];
  readonly deliveries: readonly DeliveryRecord[];
}

/** A change of a message, asked for by its owner. */
export interface ChangeRequest {
  readonly id: MessageId;
  readonly owner: string;
  /** For the message's log: which API key asked. */
  readonly by: string;
}

export interface MoveRequest extends ChangeRequest {
  readonly due: Due;
}

/** `made`: it is so now, or was before; `too-late`: the message has left that state; `expires-first`: before the new time. */
export interface Change {
  readonly outcome: 'made' | 'too-late' | 'expires-first';
  readonly state: MessageState;
  /** When it falls due, or fell due. */
  readonly deliverAt: string | null;
}

export interface SetStatus {
  readonly set: string;
  readonly host: string;
  readonly broker: 'connected' | 'blocked' | 'disconnected';
  readonly database: 'up' | 'down';
  /** Messages a second that all its live hosts take; absent when none has said. */
  readonly rate?: number;
  /** Messages stored whose confirm is outstanding in this host. */
  readonly unconfirmed: number;
  /** What comes over federation links, and what waits to go; absent before the host has looked. */
  readonly federation?: FederationView;
  /** This host's metrics. */
  readonly metrics: readonly Sample[];
}

/** What a webhook answered to a test. */
export interface TryOut {
  /** What it would mean for a delivery. */
  readonly verdict: string;
  readonly status: number | null;
  readonly error: string | null;
  readonly durationMs: number;
}

/** Why and when a SET stopped a subscription by itself. */
export interface Stop {
  readonly reason: string;
  /** RFC 3339. */
  readonly at: string;
}

/**
 * `CHECK_EXHAUSTED`: the producer was asked often enough and nobody knows; parked, and still decidable by the producer.
 */
export type TransactionState = 'PREPARED' | 'COMMITTED' | 'ROLLED_BACK' | 'CHECK_EXHAUSTED';
export type Decision = 'COMMITTED' | 'ROLLED_BACK';

/** What a producer decides about its transaction. */
export interface DecisionRequest {
  readonly id: TransactionId;
  /** A transaction of another owner is none. */
  readonly owner: string;
  readonly decision: Decision;
  /** Who says so, for the timeline. */
  readonly by: string;
}

/** A transaction as kept by a SET. */
export interface TransactionRecord {
  readonly id: TransactionId;
  readonly owner: string;
  readonly set: string;
  readonly state: TransactionState;
  /** The first one gave the transaction its id. */
  readonly messages: readonly {
    readonly id: MessageId;
    readonly topic: string;
    readonly state: MessageState;
  }[];
  readonly checkUrl: string | null;
  /** How often the producer was asked. */
  readonly checks: number;
  readonly lastCheckAt: string | null;
  /** What the last check brought: `unknown`, or why it brought nothing. */
  readonly lastCheck: string | null;
  readonly nextCheckAt: string | null;
  readonly preparedAt: string;
  readonly decidedAt: string | null;
  readonly decidedBy: string | null;
}

/** How far a subscription is with a sequence. */
export interface SequenceProgress {
  readonly subscription: string;
  /**
   * GATHERING until all have arrived; ASKED: what is missing was sent again; DELIVERING; BLOCKED at a gap; DONE: all is
   * decided; ABORTED: all is decided, and the rest behind a gap was given up.
   */
  readonly state: 'GATHERING' | 'ASKED' | 'DELIVERING' | 'BLOCKED' | 'DONE' | 'ABORTED';
  readonly arrived: number;
  /** Items by the state of their delivery; those without one wait. */
  readonly deliveries: Readonly<Partial<Record<DeliveryState, number>>>;
  /** Numbers of the items that have not arrived. */
  readonly missing: readonly number[];
  readonly deadlineAt: string | null;
}

export interface SequenceRecord {
  readonly session: string;
  readonly topic: string;
  readonly set: string;
  readonly size: number;
  readonly messages: readonly {
    readonly sequence: number;
    readonly id: MessageId;
    readonly state: MessageState;
  }[];
  readonly subscriptions: readonly SequenceProgress[];
}

export interface SetLink {
  /**
   * Takes offers, all or none of the stored ones per database shard. Resolves once every `confirm` message is
   * committed and every `fast` one is written to the broker's socket.
   * @throws Problem `database-unavailable`, `broker-unavailable` (fast only): ask the next SET, under the same ids.
   */
  accept(offers: readonly Offer[], options: AcceptOptions): Promise<readonly Receipt[]>;
  find(id: MessageId): Promise<MessageRecord | undefined>;
  /** Messages of one owner, newest first. @throws Problem `database-unavailable` */
  search(search: MessageSearch): Promise<readonly FoundMessage[]>;
  /** Deliveries of one owner that are dead, the newest first. */
  deadLetters(search: DeadLetterSearch): Promise<readonly DeadLetter[]>;
  /**
   * Begins a redrive in every database of the SET; one that has begun already goes on as it is.
   * @returns one record per database
   */
  redrive(start: RedriveStart): Promise<readonly RedriveRecord[]>;
  findRedrive(id: RedriveId): Promise<readonly RedriveRecord[]>;
  /**
   * @returns undefined when the SET has no such message of this owner
   * @throws Problem `conflict` when the message was never sent
   */
  replay(request: ReplayRequest): Promise<Receipt | undefined>;
  /**
   * Decides a transaction, if nobody has decided it yet; what is committed is sent at once.
   * @returns the transaction as it is now, whoever decided it; undefined when this SET has none of this owner
   */
  decide(request: DecisionRequest): Promise<TransactionRecord | undefined>;
  findTransaction(id: TransactionId): Promise<TransactionRecord | undefined>;
  /** An owner's sequence, as far as this SET has it. */
  sequence(owner: string, session: string): Promise<SequenceRecord | undefined>;
  /** Keeps a schedule; one with this id goes on as it is. @throws Problem `conflict` when there are too many */
  createSchedule(schedule: Schedule): Promise<ScheduleRecord>;
  findSchedule(id: ScheduleId): Promise<ScheduleRecord | undefined>;
  listSchedules(owner: string): Promise<readonly ScheduleRecord[]>;
  /** @returns undefined when the SET has no such schedule of this owner */
  changeSchedule(change: ScheduleChange): Promise<ScheduleRecord | undefined>;
  /** What consumers say of deliveries they hold. @returns what came of each, in order */
  answer(answers: readonly DeliveryAnswer[]): Promise<readonly AnswerEffect[]>;
  /**
   * Messages of a subscription that is pulled, leased; none when none waits.
   * @throws Problem `not-found` when it is not, `conflict` when it is paused
   */
  pull(request: PullRequest): Promise<readonly PulledMessage[]>;
  /** Whether a pull would find something; waits for it. Leases nothing. */
  awaitMessages(subscription: string, waitMs: number): Promise<boolean>;
  status(): Promise<SetStatus>;
  /** Subscriptions this SET has stopped by itself, by name; and of one of them what waits for it. */
  stopped(subscription: string): Promise<{
    readonly set: string;
    /** Messages in its queues that nobody holds; null while the broker is away. */
    readonly ready: number | null;
    readonly stops: Readonly<Record<string, Stop>>;
    /** Webhooks that the host which answers leaves alone for a while: their breakers are not closed. */
    readonly waiting: Readonly<Record<string, 'open' | 'probing'>>;
  }>;
  /** Lets a subscription go on that this SET had stopped. */
  enable(subscription: string): Promise<void>;
  /** Calls a subscription's webhook once with a message that is kept nowhere; undefined when it is unknown here. */
  tryOut(subscription: string, message: Message): Promise<TryOut | undefined>;
  /** Reads the catalog now and acts on it, as it does by itself a few seconds later. Returns its version. */
  follow(): Promise<number>;
  /** `SCHEDULED → CANCELLED`; undefined when the owner has no such message here. */
  cancel(request: ChangeRequest): Promise<Change | undefined>;
  /** Another time for a scheduled message; undefined when the owner has no such message here. */
  move(request: MoveRequest): Promise<Change | undefined>;
  /** An owner's scheduled messages, the next to fall due first. */
  scheduled(query: ScheduledQuery): Promise<readonly FoundMessage[]>;
}

/** Every call of a link by name, for links that cross a process or an isolate: data in, data out. */
export const setLinkCalls = [
  'accept',
  'find',
  'search',
  'deadLetters',
  'redrive',
  'findRedrive',
  'replay',
  'decide',
  'findTransaction',
  'sequence',
  'createSchedule',
  'findSchedule',
  'listSchedules',
  'changeSchedule',
  'answer',
  'pull',
  'awaitMessages',
  'status',
  'stopped',
  'enable',
  'follow',
  'tryOut',
  'cancel',
  'move',
  'scheduled',
] as const satisfies readonly (keyof SetLink)[];
export type SetLinkCall = (typeof setLinkCalls)[number];

/** A link whose calls all travel through one function. */
export function linkThrough(
  send: (call: SetLinkCall, args: readonly unknown[]) => Promise<unknown>,
): SetLink {
  const calls = setLinkCalls.map((call) => [call, (...args: unknown[]) => send(call, args)] as const);
  return Object.fromEntries(calls) as unknown as SetLink;
}

/** The other end of `linkThrough`. */
export function callLink(link: SetLink, call: SetLinkCall, args: readonly unknown[]): Promise<unknown> {
  return (link[call] as (...args: readonly unknown[]) => Promise<unknown>)(...args);
}
