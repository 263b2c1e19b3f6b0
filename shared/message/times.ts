/**
 * When a message falls due and when it expires, as a client writes it:
 *
 *   deliverAfter   90, "10m"                   1 s to a year from now, by the database's clock
 *   deliverAt      "2026-12-24T18:00:00Z"      at most a year ahead; in the past: at once
 *   expiresAfter   3600, "1h"                  from now; after it the message is not delivered any more
 */
import { parseDurationMs } from '../duration.ts';
import { parseInstantMs } from '../instant.ts';
import { asProblem, type Fault } from '../problem.ts';
import type { Due, Mode } from './message.ts';

const shortestMs = 1_000;
const dayMs = 86_400_000;
/** A leap year, so that the same day next year is always within it. */
const longestMs = 366 * dayMs;

export interface GivenTimes {
  readonly deliverAfter?: number | string | undefined;
  readonly deliverAt?: string | undefined;
  readonly expiresAfter?: number | string | undefined;
}

interface Reading {
  readonly nowMs: number;
  readonly mode: Mode;
  /** Where each value stands, for the faults. */
  readonly at: (name: keyof GivenTimes) => string;
}

export interface Times {
  readonly due?: Due;
  readonly expiresAtMs?: number;
}

/** Reads the times of one message; every broken rule becomes a fault. */
export function readTimes(given: GivenTimes, reading: Reading, faults: Fault[]): Times {
  const { nowMs, at } = reading;
  const due = readDue(given, reading, faults);
  if (given.expiresAfter === undefined) return due === undefined ? {} : { due };
  const expiresAfterMs = durationMs(given.expiresAfter, at('expiresAfter'), faults);
  const expiresAtMs = nowMs + expiresAfterMs;
  if (due && expiresAtMs <= dueAtMs(due, nowMs))
    faults.push({
      at: at('expiresAfter'),
      detail: 'It expires before it is delivered. Both count from now.',
    });
  return { ...(due === undefined ? {} : { due }), expiresAtMs };
}

/**
 * When a message falls due; undefined: at once.
 * @param given at most one of `deliverAfter` and `deliverAt`
 */
export function readDue(given: GivenTimes, { nowMs, mode, at }: Reading, faults: Fault[]): Due | undefined {
  const { deliverAfter, deliverAt } = given;
  if (deliverAfter === undefined && deliverAt === undefined) return undefined;
  const named = at(deliverAfter === undefined ? 'deliverAt' : 'deliverAfter');
  if (mode === 'fast') faults.push({ at: named, detail: 'A fast message is not stored and cannot wait.' });
  if (deliverAfter !== undefined && deliverAt !== undefined)
    faults.push({ at: at('deliverAt'), detail: 'Send either deliverAfter or deliverAt.' });
  if (deliverAfter !== undefined) return { afterMs: durationMs(deliverAfter, named, faults) };
  const atMs = found(() => parseInstantMs(deliverAt ?? '', named), faults);
  if (atMs > nowMs + longestMs) faults.push({ at: named, detail: 'At most 366 days ahead.' });
  return { atMs };
}

/** A due time as an instant, by the clock that says what time it is now. */
export function dueAtMs(due: Due, nowMs: number): number {
  return 'atMs' in due ? due.atMs : nowMs + due.afterMs;
}

function durationMs(given: number | string, at: string, faults: Fault[]): number {
  const ms = found(() => parseDurationMs(given, { at, maxMs: longestMs }), faults);
  if (ms < shortestMs) faults.push({ at, detail: 'At least 1 second.' });
  return ms;
}

/** The value, or NaN with its fault noted. */
function found(read: () => number, faults: Fault[]): number {
  try {
    return read();
  } catch (error) {
    faults.push(...(asProblem(error).extras.faults ?? []));
    return Number.NaN;
  }
}
