/** A part of what travels: some messages, with their rows and those of their streams. Pure. */
import { toUuid } from '../identifier.ts';
import type { Goods } from '../store/handover.ts';

/** By which column the rows of a table belong to a message. */
const keys: Readonly<Record<string, 'id' | 'message_id' | 'stream'>> = {
  messages: 'id',
  bodies: 'id',
  transactions: 'id',
  events: 'message_id',
  attempts: 'message_id',
  ends: 'message_id',
  deliveries: 'message_id',
  lanes: 'message_id',
  cursors: 'stream',
  sessions: 'stream',
  items: 'stream',
  orders: 'stream',
};

export function partOf({ rows }: Goods, messages: Goods['messages']): Goods {
  const ids = new Set<unknown>(messages.map(({ id }) => toUuid(id)));
  const streams = new Set<unknown>(messages.map(({ stream }) => stream));
  const parts = Object.entries(rows).map(([table, list]) => {
    const key = keys[table] ?? 'id';
    const wanted = key === 'stream' ? streams : ids;
    return [table, list.filter((row) => wanted.has(row[key]))] as const;
  });
  return { messages, rows: Object.fromEntries(parts) };
}
