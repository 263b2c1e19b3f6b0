/**
 * Finds what nothing else would: messages without agenda entry, and confirmed messages that a subscription never got
 * (shared/store/audit.ts); writes the agenda entries that repair them.
 *
 * A subscription that is paused, or has messages waiting in its queue, is behind rather than in want: its messages are
 * looked at again later.
 */
import { listeningSince } from '../shared/catalog/listening.ts';
import type { FilteredDelivery, Listener, Store } from '../shared/store/store.ts';
import { compileFilter, isFault, type ContentFilter } from '../shared/subscriptions/content-filter.ts';
import { isPushed } from '../shared/subscriptions/subscription.ts';
import { tagPattern } from '../shared/subscriptions/tag-pattern.ts';
import { forEachSet, type Job, type JobParts } from './run-job.ts';

/** Longer than any webhook call with its wait for a slot, and than a host that died is missed. */
const afterMs = 15 * 60_000;
/** Messages of one statement. */
const limit = 5_000;
/** A cron comes once a minute: end before the next one. */
const maxMs = 30_000;

export const audit: Job = auditAfter(afterMs);

/** @param behindMs how far behind the present the audit looks */
export function auditAfter(behindMs: number): Job {
  return {
    name: 'audit',
    run: (parts) =>
      forEachSet(parts, async (set) => {
        const { stores } = await parts.databases(set);
        const listeners = await listenersOf(parts, set);
        const { topics } = await parts.catalog.current();
        const asked = { set, topics: [...topics.keys()], listeners, afterMs: behindMs, limit };
        const repairs = await Promise.all(stores.map((store) => auditStore(parts, store, asked)));
        return repairs.reduce((sum, repaired) => sum + repaired, 0);
      }),
  };
}

/** @returns how many entries were written */
async function auditStore(
  { clock }: JobParts,
  store: Store,
  asked: Parameters<Store['audit']>[0],
): Promise<number> {
  const endMs = clock.nowMs() + maxMs;
  let repaired = 0;
  for (;;) {
    const { replanned, resent, filtered, isThereMore } = await store.audit(asked);
    repaired += replanned + resent + (await settle(store, asked, filtered));
    if (!isThereMore || clock.nowMs() >= endMs) return repaired;
  }
}

/** Bodies are read for this, so not too many at once. */
const filteredAtOnce = 100;

/** Asks the filters of what was found missing, and has sent what they want. */
async function settle(
  store: Store,
  { set, listeners }: Parameters<Store['audit']>[0],
  filtered: readonly FilteredDelivery[],
): Promise<number> {
  const filters = new Map(listeners.map(({ subscription, filter }) => [subscription, wanting(filter)]));
  let owed = 0;
  for (let at = 0; at < filtered.length; at += filteredAtOnce) {
    const some = filtered.slice(at, at + filteredAtOnce);
    const loaded = await store.load([...new Set(some.map(({ messageId }) => messageId))]);
    const messages = new Map(loaded.map(({ message }) => [message.id, message]));
    const verdicts = some.map((each) => {
      const message = messages.get(each.messageId);
      return { ...each, isOwed: message !== undefined && filters.get(each.subscription)?.(message) === true };
    });
    owed += await store.settleFiltered(set, verdicts);
  }
  return owed;
}

/** As where a delivery begins: a filter that cannot be read keeps nothing back. */
function wanting(filter: string | undefined): ContentFilter {
  const compiled = filter === undefined ? undefined : compileFilter(filter);
  return compiled === undefined || isFault(compiled) ? () => true : compiled;
}

async function listenersOf(parts: JobParts, set: string): Promise<readonly Listener[]> {
  const [catalog, databases] = [await parts.catalog.current(), await parts.databases(set)];
  const [kept, stopped] = await Promise.all([databases.keptVersions(), databases.stopped()]);
  const since = listeningSince(kept);
  // Without the broker nobody knows who is behind: the audit repairs the agenda and leaves the rest for later.
  const backlog = await parts.visit(set, (host) => host.backlog()).catch(() => undefined);
  return [...catalog.subscriptions.values()].flatMap((subscription) => {
    const { bindings, filter, kind, name, status, topic: topicName } = subscription;
    // What a native consumer takes leaves no record here.
    if (kind === 'amqp') return [];
    const topic = catalog.topics.get(topicName);
    const sinceMs = since.get(name);
    // A subscription that this SET does not know yet cannot have missed anything.
    if (!topic || sinceMs === undefined) return [];
    const isUp = status === 'active' && !stopped.has(name) && backlog?.[name] === 0;
    const pattern = tagPattern(topic.type, bindings);
    const pace = isUp ? 'up' : 'behind';
    const order = isPushed(subscription) ? 'kept' : 'none';
    return [{ subscription: name, topic: topicName, pattern, sinceMs, pace, order, filter } as const];
  });
}
