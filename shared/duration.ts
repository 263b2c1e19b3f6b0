/**
 * Durations as people write them: a number of seconds (`90`, `0.25`) or units in falling order (`"10m"`, `"2h30m"`,
 * `"1d12h"`, `"500ms"`). Strict on purpose: `Number()` would take `true`, `[5]`, `"0x10"` and `""` for durations.
 */
import { Problem } from './problem.ts';

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
] as const;

const writtenForm = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;

export interface DurationRule {
  /** Where the value stands: a JSON pointer, header or setting name; the fault names it. */
  readonly at: string;
  /** Longest duration taken, in milliseconds. */
  readonly maxMs?: number;
}

/**
 * Whole milliseconds. A bare number, also as a text of digits (headers are text), counts seconds.
 * @throws Problem `invalid-request`
 * @example parseDurationMs('2h30m', { at: '/deliverAfter' }) // 9_000_000
 */
export function parseDurationMs(value: unknown, rule: DurationRule): number {
  const ms =
    typeof value === 'number' ? secondsToMs(value) : typeof value === 'string' ? textToMs(value) : NaN;
  if (Number.isNaN(ms)) {
    throw fault(rule.at, 'Write seconds, such as 90, or units in falling order, such as "10m" or "2h30m".');
  }
  const maxMs = rule.maxMs ?? Number.MAX_SAFE_INTEGER;
  if (ms > maxMs) throw fault(rule.at, `The longest duration here is ${formatDuration(maxMs)}.`);
  return ms;
}

/**
 * The shortest written form; `parseDurationMs` reads it back.
 * @param ms whole milliseconds, not negative
 * @example formatDuration(9_000_000) // '2h30m'
 */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = '';
  for (const [unit, sizeMs] of units) {
    const count = Math.floor(rest / sizeMs);
    rest -= count * sizeMs;
    if (count > 0) text += `${count}${unit}`;
  }
  return text || '0s';
}

/** NaN for what is no duration of whole milliseconds: 0.0015 s, −1, Infinity. */
function secondsToMs(seconds: number): number {
  const ms = Math.round(seconds * 1000);
  return seconds >= 0 && ms / 1000 === seconds && Number.isFinite(ms) ? Math.abs(ms) : NaN;
}

function textToMs(text: string): number {
  if (/^\d{1,16}$/.test(text)) return secondsToMs(Number(text));
  const counts = text.length > 0 && text.length <= 64 ? writtenForm.exec(text) : null;
  if (!counts) return NaN;
  return units.reduce((sum, [, sizeMs], index) => sum + Number(counts[index + 1] ?? 0) * sizeMs, 0);
}

function fault(at: string, detail: string): Problem {
  return new Problem('invalid-request', `${at} is not a usable duration. ${detail}`, {
    faults: [{ at, detail }],
  });
}
