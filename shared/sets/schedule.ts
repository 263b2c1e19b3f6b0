/** Schedules: a cron expression that publishes a message. Kept by the SET whose database publishes it. */
import type { CronTimes } from '../cron.ts';
import type { MessageId, ScheduleId } from '../identifier.ts';
import type { Draft } from '../message/message.ts';

/** Ticks nobody was there for: left out, made up for by one message, or by one each. */
export type Missed = 'skip' | 'one' | 'all';
export type ScheduleState = 'ACTIVE' | 'PAUSED';

export interface Schedule extends CronTimes {
  readonly id: ScheduleId;
  readonly owner: string;
  readonly name: string | null;
  readonly missed: Missed;
  readonly message: Omit<Draft, 'due' | 'expiresAtMs' | 'route'>;
  /** Of the request that made it. */
  readonly fingerprint?: string;
}

export interface ScheduleRun {
  /** The time of the cron expression. */
  readonly tick: string;
  readonly message: MessageId;
  /** When it was published. */
  readonly at: string;
}

/** A schedule as its SET keeps it, without the body of its message. */
export interface ScheduleRecord extends CronTimes {
  readonly id: ScheduleId;
  readonly owner: string;
  readonly name: string | null;
  readonly missed: Missed;
  readonly state: ScheduleState;
  readonly set: string;
  readonly topic: string;
  readonly tag: string | null;
  readonly key: string | null;
  readonly size: number;
  readonly createdAt: string;
  /** The newest first, at most twenty. */
  readonly lastRuns: readonly ScheduleRun[];
  readonly fingerprint: string | null;
}

export interface ScheduleChange {
  readonly id: ScheduleId;
  readonly owner: string;
  readonly change: 'pause' | 'resume' | 'delete';
}

/** A schedule that is due, as its store hands it out. All times by the database's clock, in Unix milliseconds. */
export interface DueSchedule extends Schedule {
  readonly nowMs: number;
  /** The first tick that was not published; absent before the first look, which begins at `sinceMs`. */
  readonly nextMs?: number;
  /** When it was made, or resumed. */
  readonly sinceMs: number;
}

/** What a look at a due schedule came to. */
export interface ScheduleMove {
  readonly lease: { readonly entry: string; readonly token: string };
  readonly id: ScheduleId;
  readonly ran: readonly { readonly tickMs: number; readonly message: MessageId }[];
  /** Absent: it never comes again. */
  readonly nextMs?: number;
}
