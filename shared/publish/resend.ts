/** Sends again, from the agenda, what the broker has not confirmed yet. */
import type { DueEntry } from '../agenda/agenda.ts';
import type { Store } from '../store/store.ts';
import { toOutbound } from '../message/envelope.ts';
import type { Message } from '../message/message.ts';
import { asProblem } from '../problem.ts';
import { sendMessages, type SendParts } from './send.ts';

/** Sends what is still READY; an entry whose messages have all ended is over. */
export async function resend(parts: SendParts, store: Store, entries: readonly DueEntry[]): Promise<void> {
  const loaded = await store.load(entries.flatMap((entry) => entry.refs));
  const ready = new Map(
    loaded.filter(({ state }) => state === 'READY').map(({ message }) => [message.id, message]),
  );
  await Promise.all(
    entries.map(async (entry) => {
      const messages = entry.refs.flatMap((id) => ready.get(id) ?? []);
      if (messages.length === 0) return store.finish([entry]);
      await sendMessages(parts, store, { lease: entry, messages, attempts: entry.attempts });
      return undefined;
    }),
  );
}

/**
 * Publishes messages once more, whatever their state: their copies were lost behind the broker.
 * @returns `unknown` when the broker did not say that it has them all
 */
export async function publishAgain(
  { broker, canSend, confirmTimeoutMs }: SendParts,
  messages: readonly Message[],
): Promise<'sent' | 'unknown'> {
  if (messages.length === 0) return 'sent';
  if (!canSend()) return 'unknown';
  try {
    const outcomes = await broker.publish(messages.map(toOutbound), { timeoutMs: confirmTimeoutMs });
    return outcomes.includes('unknown') ? 'unknown' : 'sent';
  } catch (error) {
    // What AMQP cannot carry will not arrive however often it is sent.
    return asProblem(error).kind === 'invalid-request' ? 'sent' : 'unknown';
  }
}
