/**
 * Times of a cron expression in a time zone. Five fields, or six with seconds first; names, ranges, steps, `L`, `W` and
 * `#` as croner reads them. An hour that a time zone leaves out moves a fixed time to the end of the gap, and one that
 * comes twice has it once; steps and ranges follow the clock as it is (https://croner.56k.guru/usage/pattern/).
 */
import { Cron } from 'croner';
import type { Fault } from './problem.ts';

export interface CronTimes {
  /** Five or six fields. */
  readonly cron: string;
  /** IANA name, such as `Europe/Berlin`. */
  readonly timeZone: string;
}

/** The field that is wrong, and why; undefined when both are fine. */
export function cronFault({ cron, timeZone }: CronTimes): Fault | undefined {
  const detail = 'Five fields, or six with seconds first, such as "0 9 * * MON-FRI".';
  // Croner knows nicknames (@daily) and seven fields as well.
  if (!/^\S+(?: +\S+){4,5}$/.test(cron)) return { at: 'cron', detail };
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch {
    return { at: 'timeZone', detail: 'An IANA time zone, such as "Europe/Berlin".' };
  }
  try {
    if (nextTimes({ cron, timeZone }, Date.now(), 1).length > 0) return undefined;
    return { at: 'cron', detail: 'This never comes.' };
  } catch (error) {
    return { at: 'cron', detail: `${detail} ${error instanceof Error ? error.message : ''}`.trim() };
  }
}

/**
 * The next times after an instant, all in Unix milliseconds.
 * @example nextTimes({ cron: '30 2 * * *', timeZone: 'Europe/Berlin' }, Date.now(), 5)
 */
export function nextTimes({ cron, timeZone }: CronTimes, afterMs: number, count: number): readonly number[] {
  const times = new Cron(cron, { timezone: timeZone, mode: '5-or-6-parts' });
  return times.nextRuns(count, new Date(afterMs)).map((time) => time.getTime());
}
