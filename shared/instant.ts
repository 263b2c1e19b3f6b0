/**
 * Instants of RFC 3339 as clients write them: `2026-12-24T18:00:00Z`, `2026-12-24T19:00:00.250+01:00`. Strict on
 * purpose: `Date` takes 2026-02-30 for 2 March and a text without an offset for local time, and Postgres takes
 * "infinity".
 */
import { Problem } from './problem.ts';

const writtenForm =
  /^(\d{4}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.(\d{1,9}))?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * Unix milliseconds, rounded up: what waits for an instant must never be early.
 * @param at where the text stands; the fault names it
 * @throws Problem `invalid-request`
 * @example parseInstantMs('1970-01-01T00:00:01.5Z', '/deliverAt') // 1500
 */
export function parseInstantMs(text: string, at: string): number {
  const match = writtenForm.exec(text);
  const [, day = '', fraction = ''] = match ?? [];
  const dayMs = Date.parse(`${day}T00:00:00Z`);
  if (!match || Number.isNaN(dayMs) || new Date(dayMs).toISOString().slice(0, 10) !== day) {
    const detail = 'Write an instant of RFC 3339 with its offset, such as "2026-12-24T18:00:00Z".';
    throw new Problem('invalid-request', `${at} is no instant. ${detail}`, { faults: [{ at, detail }] });
  }
  const fractionMs = Math.ceil(Number(fraction.padEnd(9, '0')) / 1_000_000);
  return Date.parse(text.replace(/\.\d+/, '')) + fractionMs;
}
