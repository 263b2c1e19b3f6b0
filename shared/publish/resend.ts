/** Sends again, from the agenda, what the broker has not confirmed yet. */
import type { DueEntry } from '../agenda/agenda.ts';
import type { Store } from '../store/store.ts';
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
