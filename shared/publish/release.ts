/**
 * Scheduled messages that fall due: `SCHEDULED → READY`, and sent at once.
 *
 *   claim `release` entries ─▶ one statement: what is due becomes READY under one `send` entry ─▶ send, settle
 *
 * The entry says when to look, the message says when it is due: one that was moved has another entry there, one that was
 * cancelled is no longer SCHEDULED, and both are passed over. What if the process dies: before the statement, the entry
 * falls due again; after it, the `send` entry does.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import type { Store } from '../store/store.ts';
import { sendMessages, type SendParts } from './send.ts';

export interface ReleaseParts extends SendParts {
  readonly host: string;
  /** When somebody else should send what this host has not settled by then. */
  readonly resendAfterMs: number;
}

/** Messages of one statement: as many as a group commit takes. */
const maxMessages = 500;

export async function releaseDue(
  parts: ReleaseParts,
  store: Store,
  entries: readonly DueEntry[],
): Promise<void> {
  for (const slice of slicesOf(entries)) {
    // One after the other: the broker's confirms of a slice pace the next.
    const { lease, messages } = await store.makeReady(slice, parts);
    if (lease) await sendMessages(parts, store, { lease, messages, attempts: 0 });
  }
}

/** Entries in order, together no more messages than one statement takes, unless a single entry has more. */
function slicesOf(entries: readonly DueEntry[]): readonly (readonly DueEntry[])[] {
  const slices: DueEntry[][] = [];
  let room = 0;
  for (const entry of entries) {
    room -= entry.refs.length;
    if (room >= 0) slices.at(-1)?.push(entry);
    else {
      slices.push([entry]);
      room = maxMessages - entry.refs.length;
    }
  }
  return slices;
}
