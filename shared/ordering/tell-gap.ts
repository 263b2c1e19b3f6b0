/**
 * Tells the callback URL of a sequence what was decided about a gap.
 *
 *   gap decided ─(same statement)─▶ row + agenda entry `gap` ─▶ signed POST ─▶ 2xx: told
 *                                                                  └▶ else: again by the default retry schedule, then given up
 *
 * The sequence goes on whatever becomes of it. At least once, under one `webhook-id` per subscription and gap: whoever
 * dies between the answer and the record asks again. Signed with the secrets of the topic, like a check of a transaction.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import { defaultRetryDelaysMs, retryDelayMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { Courier, NoticeAnswer } from '../delivery/courier.ts';
import { asProblem } from '../problem.ts';
import type { GapCallback } from '../store/ordered-store.ts';
import type { Store } from '../store/store.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';

export interface TellGapParts {
  readonly set: string;
  readonly host: string;
  readonly clock: Clock;
  readonly courier: Pick<Courier, 'tell'>;
  readonly telemetry: Telemetry;
  /** A topic as the catalog has it now. */
  readonly topic: (name: string) => Topic | undefined;
}

/** Total time of one call. */
export const tellTimeoutMs = 5_000;

export async function tellGaps(
  parts: TellGapParts,
  store: Store,
  entries: readonly DueEntry[],
): Promise<void> {
  const callbacks = await store.loadGapCallbacks(entries);
  // One that fails stays claimed and falls due again when its lease ends.
  await Promise.allSettled(callbacks.map((callback) => tellOne(parts, store, callback)));
}

async function tellOne(parts: TellGapParts, store: Store, callback: GapCallback): Promise<void> {
  const answer = await call(parts, callback);
  const { verdict, error, status } = answer;
  parts.telemetry.count('setway_gap_callbacks_total', { set: parts.set, verdict });
  const { lease, attempts } = callback;
  if (verdict === 'done') return store.recordGapTold({ lease, said: `told (HTTP ${status})` }, parts.host);
  const delayMs = retryDelayMs(defaultRetryDelaysMs, attempts + 1, Math.random);
  const isLast = verdict !== 'retry' || delayMs === undefined;
  const again = isLast ? {} : { againAfterMs: answer.retryAfterMs ?? delayMs };
  return store.recordGapTold({ lease, said: `given up (${error ?? ''})`, ...again }, parts.host);
}

async function call({ courier, topic }: TellGapParts, callback: GapCallback): Promise<NoticeAnswer> {
  const { secrets = [] } = topic(callback.topic) ?? {};
  const failed = { verdict: 'retry', status: null, durationMs: 0 } as const;
  // The catalog may get them back.
  if (secrets.length === 0) return { ...failed, error: 'The topic has no signing secrets any more.' };
  const { attempts, gap, id, url } = callback;
  const notice = { url, id, kind: 'sequence-gap', attempt: attempts + 1, content: gap, secrets };
  return courier
    .tell({ ...notice, timeoutMs: tellTimeoutMs })
    .catch((error: unknown) => ({ ...failed, error: asProblem(error).message }));
}
