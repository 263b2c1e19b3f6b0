/**
 * Tells a callback URL how a delivery ended.
 *
 *   outcome recorded ─(same statement)─▶ row + agenda entry `callback` ─▶ signed POST ─▶ 2xx: told
 *                                                                          └▶ else: again by the default retry schedule, then given up
 *
 * The delivery has ended whatever becomes of it; how it went stands on the message's timeline. At least once, under one
 * `webhook-id` per message, subscription and state. Signed with the secrets of the subscription. It cannot loop: a
 * callback is no message, so nobody is told of it, and the doors that publish refuse its `setway-notice` header or body.
 */
import { createHash } from 'node:crypto';
import type { DueEntry } from '../agenda/agenda.ts';
import type { Clock } from '../clock.ts';
import type { EndCallback, Store } from '../store/store.ts';
import { liveSecrets } from '../subscriptions/live-secrets.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Courier } from './courier.ts';
import { tell } from './tell.ts';

export interface TellEndParts {
  readonly set: string;
  readonly host: string;
  readonly courier: Pick<Courier, 'tell'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly telemetry: Telemetry;
  /** A subscription as the catalog has it now. */
  readonly subscription: (name: string) => Pick<Subscription, 'secrets' | 'retiring'> | undefined;
}

/** Total time of one call. */
export const endTimeoutMs = 10_000;

export async function tellEnds(
  parts: TellEndParts,
  store: Store,
  entries: readonly DueEntry[],
): Promise<void> {
  const callbacks = await store.loadEndCallbacks(entries);
  // One that fails stays claimed and falls due again when its lease ends.
  await Promise.allSettled(callbacks.map((callback) => tellOne(parts, store, callback)));
}

async function tellOne(parts: TellEndParts, store: Store, callback: EndCallback): Promise<void> {
  const { attempts, content, lease, url } = callback;
  const known = parts.subscription(content.subscription);
  const secrets = known ? liveSecrets(known, parts.clock.nowMs()) : [];
  const notice = { url, id: idOf(content), kind: 'delivery-ended', attempt: attempts + 1, content, secrets };
  const { verdict, ...told } = await tell(
    parts.courier,
    { ...notice, timeoutMs: endTimeoutMs },
    'subscription',
  );
  parts.telemetry.count('setway_callbacks_total', { set: parts.set, verdict });
  return store.recordEndTold({ lease, ...told }, parts.host);
}

function idOf({ message, subscription, state }: EndCallback['content']): string {
  const digest = createHash('sha256').update(`${message}/${subscription}/${state}`).digest('hex');
  return `end_${digest.slice(0, 32)}`;
}
