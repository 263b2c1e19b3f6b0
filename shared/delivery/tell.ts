/**
 * One try to tell a URL something that is no delivery, and what follows from it: told, again by the default retry
 * schedule, or given up. Whoever asks writes that down under its lease; one that dies in between tells again, under the
 * same `webhook-id`.
 */
import { defaultRetryDelaysMs, retryDelayMs } from '../backoff.ts';
import { asProblem } from '../problem.ts';
import type { Courier, Notice, NoticeAnswer } from './courier.ts';

export interface Told {
  readonly verdict: NoticeAnswer['verdict'];
  /** For the timeline. */
  readonly said: string;
  /** Absent: it has ended. */
  readonly againAfterMs?: number;
}

/** @param signer whose secrets they are, for the timeline */
export async function tell(courier: Pick<Courier, 'tell'>, notice: Notice, signer: string): Promise<Told> {
  const { verdict, status, error, retryAfterMs } = await answerTo(courier, notice, signer);
  if (verdict === 'done') return { verdict, said: `told (HTTP ${status})` };
  const delayMs =
    verdict === 'retry' ? retryDelayMs(defaultRetryDelaysMs, notice.attempt, Math.random) : undefined;
  const said = `given up (${error ?? ''})`;
  return { verdict, said, ...(delayMs === undefined ? {} : { againAfterMs: retryAfterMs ?? delayMs }) };
}

async function answerTo(
  courier: Pick<Courier, 'tell'>,
  notice: Notice,
  signer: string,
): Promise<NoticeAnswer> {
  const failed = { verdict: 'retry', status: null, durationMs: 0 } as const;
  // The catalog may get them back.
  if (notice.secrets.length === 0)
    return { ...failed, error: `The ${signer} has no signing secrets any more.` };
  return courier.tell(notice).catch((error: unknown) => ({ ...failed, error: asProblem(error).message }));
}
