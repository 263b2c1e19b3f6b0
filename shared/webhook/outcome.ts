/**
 * What a webhook's answer means for the delivery. Pure.
 *
 *     2xx                                   done
 *     202 with setway-async: 1              leased: the receiver says later what became of it, for as long as setway-lease says
 *     410                                   disable: the receiver is gone for good, the subscription stops
 *     any other with setway-non-retryable: 1   dead
 *     408, 409, 425, 429, 5xx, no answer    retry, at the time Retry-After asks for
 *     3xx                                   retry
 *     other 4xx, and what the subscription lists as non-retryable    dead
 *
 * A redirect is never followed (it could lead anywhere) and is a failure. It is retried, because redirects come and go
 * with deployments and maintenance pages: whoever misconfigured a receiver has the whole schedule to repair it, and the
 * message is not lost meanwhile. 408 is retried like every timeout: it mostly comes from a proxy, and RFC 9110 §15.5.9
 * invites the client to repeat the request.
 */

import type { AnswerRules } from '../subscriptions/delivery-policy.ts';
import { leaseMsOf } from './lease.ts';

/** What happens to the delivery. */
export type Verdict = 'done' | 'leased' | 'retry' | 'dead' | 'disable';

/** Header fields by lower-case name. */
export type AnswerHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A webhook's answer, or why there was none. */
export type WebhookAnswer =
  | {
      readonly status: number;
      readonly headers: AnswerHeaders;
      /** The first bytes of the body, as text, for people. */
      readonly excerpt: string;
    }
  | { readonly error: string };

export interface Outcome {
  readonly verdict: Verdict;
  readonly status: number | null;
  readonly error: string | null;
  readonly retryAfterMs?: number;
  /** `leased` only. */
  readonly leaseMs?: number;
}

const second = 1_000;
/** Not at once, whatever the receiver says, and not later than a day: a mistyped date must not park a delivery for a year. */
const minRetryAfterMs = second;
const maxRetryAfterMs = 24 * 3_600 * second;
/** Statuses that ask for another try by their meaning: timeout, conflict, too early, too many requests. */
const retried: ReadonlySet<number> = new Set([408, 409, 425, 429]);

/** @param nowMs Unix milliseconds, for a Retry-After that is a date */
export function outcomeOf(answer: WebhookAnswer, nowMs: number, rules: AnswerRules = {}): Outcome {
  if ('error' in answer) return { verdict: 'retry', status: null, error: answer.error };
  const { status, headers } = answer;
  const verdict = rules.nonRetryable?.includes(status) ? 'dead' : verdictOf(status, headers);
  const isWell = verdict === 'done' || verdict === 'leased';
  const error = isWell ? null : `HTTP ${status}${answer.excerpt ? `: ${answer.excerpt}` : ''}`;
  const retryAfterMs =
    verdict === 'retry'
      ? parseRetryAfterMs(field(headers, 'retry-after'), nowMs, rules.maxRetryAfterMs)
      : undefined;
  return {
    verdict,
    status,
    error,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(verdict === 'leased' ? { leaseMs: leaseMsOf(field(headers, 'setway-lease')) } : {}),
  };
}

function verdictOf(status: number, headers: AnswerHeaders): Verdict {
  if (status === 202 && field(headers, 'setway-async')?.trim() === '1') return 'leased';
  if (status >= 200 && status < 300) return 'done';
  if (status === 410) return 'disable';
  if (field(headers, 'setway-non-retryable')?.trim() === '1') return 'dead';
  return status >= 400 && status < 500 && !retried.has(status) ? 'dead' : 'retry';
}

/**
 * `Retry-After` (RFC 9110 §10.2.3) in milliseconds from now, clamped to 1 s … `mostMs`: whole seconds, or a date in the form
 * that senders must use (IMF-fixdate). Undefined for anything else: garbage does not move the schedule.
 */
export function parseRetryAfterMs(
  value: string | undefined,
  nowMs: number,
  mostMs: number = maxRetryAfterMs,
): number | undefined {
  const text = value?.trim() ?? '';
  if (/^\d{1,100}$/.test(text)) return clamp(Number(text) * second, mostMs);
  if (!/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text))
    return undefined;
  const dateMs = Date.parse(text);
  return Number.isNaN(dateMs) ? undefined : clamp(dateMs - nowMs, mostMs);
}

function clamp(ms: number, mostMs: number): number {
  return Math.min(mostMs, Math.max(minRetryAfterMs, ms));
}

function field(headers: AnswerHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' || value === undefined ? value : value[0];
}
