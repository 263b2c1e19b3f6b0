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
import type { Courier } from '../delivery/courier.ts';
import { tell } from '../delivery/tell.ts';
import type { GapCallback } from '../store/ordered-store.ts';
import type { Store } from '../store/store.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';

export interface TellGapParts {
  readonly set: string;
  readonly host: string;
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
  const { attempts, gap, id, lease, url } = callback;
  const { secrets = [] } = parts.topic(callback.topic) ?? {};
  const notice = { url, id, kind: 'sequence-gap', attempt: attempts + 1, content: gap, secrets };
  const { verdict, ...told } = await tell(parts.courier, { ...notice, timeoutMs: tellTimeoutMs }, 'topic');
  parts.telemetry.count('setway_gap_callbacks_total', { set: parts.set, verdict });
  return store.recordGapTold({ lease, ...told }, parts.host);
}
