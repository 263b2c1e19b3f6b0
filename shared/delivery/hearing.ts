/**
 * Whether a message is for a subscription by its content; asked where a delivery begins, so that one under way is
 * brought to its end whatever becomes of the filter. A message that is not for it gets no call and no row: it is counted,
 * and owed nothing.
 */
import { compileFilter, isFault, type ContentFilter } from '../subscriptions/content-filter.ts';
import type { Message } from '../message/message.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';

export type Hears = (
  subscription: Pick<Subscription, 'name' | 'filter'>,
  message: Omit<Message, 'placement'>,
) => boolean;

interface Compiled {
  readonly text: string;
  readonly hears: ContentFilter;
}

/** Compiles each filter once, until the catalog has another one. */
export function createHearing({
  set,
  telemetry,
}: {
  readonly set: string;
  readonly telemetry: Telemetry;
}): Hears {
  const kept = new Map<string, Compiled>();
  const compiledOf = (subscription: string, text: string): Compiled => {
    const known = kept.get(subscription);
    if (known?.text === text) return known;
    const filter = compileFilter(text);
    // Checked when it was written; one that an older version took is dropped rather than the messages.
    const compiled = { text, hears: isFault(filter) ? () => true : filter };
    kept.set(subscription, compiled);
    return compiled;
  };
  return ({ name, filter }, message) => {
    if (filter === undefined || compiledOf(name, filter).hears(message)) return true;
    telemetry.count('setway_filtered_total', { set, subscription: name });
    return false;
  };
}
