/** Everything that happened to a message, in the order of time, from its row, the log beside it and its attempts. */
import type { TimelineEntry } from '../sets/set-link.ts';
import { instant, instantOrNull, numberOrNull, text, textOrNull, type Row } from './rows.ts';

export interface History {
  readonly message: Row;
  readonly events: readonly Row[];
  readonly ends: readonly Row[];
  readonly attempts: readonly Row[];
}

/** Other ends have an event that says who brought them about. */
const sendingEnds: ReadonlySet<unknown> = new Set(['UNROUTABLE', 'FAILED']);

export function timelineOf({ message, events, ends, attempts }: History): readonly TimelineEntry[] {
  const set = text(message['set_id']);
  const entries: readonly TimelineEntry[] = [
    ...beginnings(message, set),
    ...events.map((row) => ({
      at: instant(row['at']),
      change: text(row['change']),
      by: text(row['by_whom']),
      set,
      ...(row['detail'] === null ? {} : { detail: text(row['detail']) }),
    })),
    ...ends
      .filter((row) => sendingEnds.has(row['state']))
      .map((row) => ({
        at: instant(row['at']),
        change: text(row['state']).toLowerCase(),
        by: 'broker',
        set,
        error: textOrNull(row['error']),
      })),
    ...attempts.map((row) => attemptEntry(row, set)),
  ];
  // Sorting is stable: what has one time stays in the order of a message's life.
  return entries.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

function beginnings(message: Row, set: string): readonly TimelineEntry[] {
  const deliverAt = instantOrNull(message['deliver_at']);
  const confirmedAt = instantOrNull(message['confirmed_at']);
  const storedAt = instant(message['stored_at']);
  return [
    { at: instant(message['accepted_at']), change: 'accepted', by: 'edge', set },
    { at: storedAt, change: 'stored', by: 'store', set },
    ...(deliverAt === null
      ? []
      : [{ at: storedAt, change: 'scheduled', by: 'store', set, detail: deliverAt }]),
    ...(confirmedAt === null ? [] : [{ at: confirmedAt, change: 'confirmed', by: 'broker', set }]),
  ];
}

function attemptEntry(row: Row, set: string): TimelineEntry {
  return {
    at: instant(row['at']),
    change: 'attempt',
    by: text(row['host']),
    set,
    subscription: text(row['subscription']),
    attempt: Number(row['attempt']),
    outcome: row['outcome'] as NonNullable<TimelineEntry['outcome']>,
    status: numberOrNull(row['status']),
    durationMs: Number(row['duration_ms']),
    error: textOrNull(row['error']),
  };
}
