/** Which story handles which kind of due work, how much of it at once, and under how long a lease. */
import type { AgendaKind, Rooms } from '../agenda/agenda.ts';
import type { Deliverer } from '../delivery/deliver.ts';
import { endTimeoutMs, tellEnds, type TellEndParts } from '../delivery/tell-end.ts';
import { stepRedrives, type RedriveParts } from '../delivery/redrive.ts';
import type { Orderer } from '../ordering/ordering.ts';
import { releaseDue, type ReleaseParts } from '../publish/release.ts';
import { tellGaps, tellTimeoutMs, type TellGapParts } from '../ordering/tell-gap.ts';
import { runSchedules, type RunScheduleParts } from '../publish/run-schedule.ts';
import { resend } from '../publish/resend.ts';
import type { Courier } from '../delivery/courier.ts';
import { checkDue, checkTimeoutMs, type CheckParts } from '../transaction/check.ts';
import type { Held } from './due-loop.ts';
import type { DueHandler } from './due-work.ts';

export interface DueHandlerParts
  extends ReleaseParts, RedriveParts, CheckParts, RunScheduleParts, TellGapParts, TellEndParts {
  readonly courier: Pick<Courier, 'ask' | 'tell'>;
  readonly deliverer: Pick<Deliverer, 'redeliver'>;
  readonly orderer: Pick<Orderer, 'work'>;
  /** The subscriptions are known: what is tried again now has somewhere to go. */
  readonly isLoaded: () => boolean;
  /** What each subscription may still take of a kind, given what it has under way. */
  readonly rooms: (kind: 'redeliver' | 'order') => (held: Held) => Rooms;
  /** How long the webhook call of a retry may take, with what it waits before. */
  readonly longestCallMs: () => number;
}

const callbacksEach = 8;

function callbackRooms(held: Held): Rooms {
  const left = [...held].map(([name, count]) => [name, Math.max(0, callbacksEach - count)] as const);
  return { each: callbacksEach, except: Object.fromEntries(left) };
}

export function createDueHandlers(parts: DueHandlerParts): Readonly<Record<AgendaKind, DueHandler>> {
  const sendLeaseMs = (): number => parts.confirmTimeoutMs + parts.resendAfterMs;
  // While the broker is away its entries stay unclaimed: nothing could be done with them but to count a try.
  const isReady = parts.canSend;
  return {
    send: {
      capacity: 4, // of up to 500 messages each
      leaseMs: sendLeaseMs,
      isReady,
      handle: (store, entries) => resend(parts, store, entries),
    },
    release: {
      capacity: 500,
      leaseMs: sendLeaseMs,
      isReady,
      handle: (store, entries) => releaseDue(parts, store, entries),
    },
    schedule: {
      capacity: 50,
      leaseMs: () => parts.resendAfterMs,
      // Without the catalog nobody knows how durable its messages are to be.
      isReady: parts.isLoaded,
      handle: (store, entries) => runSchedules(parts, store, entries),
    },
    redrive: {
      capacity: 4, // steps of up to 500 deliveries each
      leaseMs: () => parts.resendAfterMs,
      isReady: () => true,
      handle: (store, entries) => stepRedrives(parts, store, entries),
    },
    redeliver: {
      capacity: 400,
      // One that is slow keeps its room: others take the rooms that get free beside it.
      grouping: 'one by one',
      rooms: parts.rooms('redeliver'),
      leaseMs: parts.longestCallMs,
      isReady: parts.isLoaded,
      handle: (store, entries, heldUntilMs) => parts.deliverer.redeliver(store, entries, heldUntilMs),
    },
    order: {
      capacity: 1_000,
      // A long stream keeps its slot: others take the slots that get free beside it.
      grouping: 'one by one',
      rooms: parts.rooms('order'),
      leaseMs: parts.longestCallMs,
      isReady: parts.isLoaded,
      handle: (store, entries, heldUntilMs) => parts.orderer.work(store, entries, heldUntilMs),
    },
    gap: {
      capacity: 20, // calls under way
      leaseMs: () => 2 * tellTimeoutMs,
      // Without the catalog nobody knows the secrets.
      isReady: parts.isLoaded,
      handle: (store, entries) => tellGaps(parts, store, entries),
    },
    callback: {
      capacity: 100, // calls under way
      // The URLs of one subscription that hang leave others their room.
      grouping: 'one by one',
      rooms: callbackRooms,
      leaseMs: () => 2 * endTimeoutMs,
      isReady: parts.isLoaded,
      handle: (store, entries) => tellEnds(parts, store, entries),
    },
    check: {
      capacity: 50, // calls under way
      leaseMs: () => 2 * checkTimeoutMs,
      // Without the catalog nobody knows the secrets.
      isReady: parts.isLoaded,
      handle: (store, entries) => checkDue(parts, store, entries),
    },
  };
}
