/**
 * What a consumer's webhook answers, in the words Setway's courier understands: 2xx done; 409, 5xx try again, after
 * `Retry-After` if given; other 4xx or `setway-non-retryable: 1` dead letter.
 */
import { formatDuration } from '../duration.ts';

/** The effect is there: from this delivery, or from an earlier one. */
export function answerDone(how: 'done' | 'duplicate'): Response {
  return new Response(null, { status: 200, headers: how === 'duplicate' ? { 'setway-duplicate': '1' } : {} });
}

/** It is being worked on, and whoever does says later what became of it. */
export function answerAccepted(leaseMs: number): Response {
  const lease = formatDuration(Math.ceil(leaseMs / 1000) * 1000);
  return new Response(null, { status: 202, headers: { 'setway-async': '1', 'setway-lease': lease } });
}

export interface Refusal {
  readonly status: number;
  readonly title: string;
  readonly detail?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `application/problem+json` (RFC 9457). */
export function answerRefusal({ status, title, detail, headers }: Refusal): Response {
  const body = JSON.stringify({ type: 'about:blank', title, status, ...(detail ? { detail } : {}) });
  return new Response(body, { status, headers: { 'content-type': 'application/problem+json', ...headers } });
}

export const neverRetry = { 'setway-non-retryable': '1' } as const;

/** @param afterMs rounded up to whole seconds, at least one (RFC 9110 §10.2.3) */
export function retryAfter(afterMs: number): { readonly 'retry-after': string } {
  return { 'retry-after': String(Math.max(1, Math.ceil(afterMs / 1000))) };
}
