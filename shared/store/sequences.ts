/** A sequence as people ask for it. One query, one function. */
import { toUuid } from '../identifier.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { SequenceProgress, SequenceRecord } from '../sets/set-link.ts';
import { answerOf, type Sql } from './database.ts';
import { idOf, instantOrNull, text, type Row } from './rows.ts';

/** Sequences of one name: the client's fault, shown together. */
const maxMessages = 1_000;

export async function findSequence(
  sql: Sql,
  owner: string,
  session: string,
): Promise<SequenceRecord | undefined> {
  const messages = await answerOf(sql`
    SELECT m.id, m.topic, m.set_id, m.sequence, m.state, (b.options->'order'->>'size')::integer AS size
    FROM message m JOIN message_body b ON b.id = m.id
    WHERE m.session = ${session} AND m.owner = ${owner} AND m.sequence IS NOT NULL
    ORDER BY m.sequence, m.id LIMIT ${maxMessages}`);
  const [first] = messages;
  if (!first) return undefined;
  const ids = messages.map((row) => toUuid(idOf(row['id'])));
  const streams = await answerOf(sql`
    SELECT s.*, now() < s.deadline_at AS waits,
      (SELECT json_agg(position) FROM stream_item WHERE subscription = s.subscription AND stream = s.stream) AS here,
      (SELECT json_object_agg(state, n) FROM (
        SELECT state, count(*) AS n FROM delivery
        WHERE message_id = ANY(${ids}::uuid[]) AND subscription = s.subscription GROUP BY state) d) AS deliveries
    FROM stream s
    JOIN (SELECT DISTINCT subscription, stream FROM stream_item WHERE message_id = ANY(${ids}::uuid[])) i USING (subscription, stream)
    ORDER BY s.subscription LIMIT 1000`);
  return {
    session,
    topic: text(first['topic']),
    set: text(first['set_id']),
    size: Number(first['size']),
    messages: messages.map((row) => ({
      sequence: Number(row['sequence']),
      id: idOf(row['id']),
      state: row['state'] as MessageState,
    })),
    subscriptions: streams.map(progressOf),
  };
}

type Deliveries = SequenceProgress['deliveries'];

function progressOf(row: Row): SequenceProgress {
  const size = Number(row['size']);
  const here = new Set(row['here'] as readonly number[] | null);
  const state = stateOf(row, size);
  return {
    subscription: text(row['subscription']),
    state,
    arrived: here.size,
    deliveries: (row['deliveries'] as Deliveries | null) ?? {},
    missing: Array.from({ length: size }, (_, index) => index + 1).filter((number) => !here.has(number)),
    deadlineAt: state === 'GATHERING' || state === 'ASKED' ? instantOrNull(row['deadline_at']) : null,
  };
}

function stateOf(row: Row, size: number): SequenceProgress['state'] {
  const stage = text(row['state']);
  if (Number(row['position']) >= size) return stage === 'ABORTED' ? 'ABORTED' : 'DONE';
  if (Number(row['arrived']) < size && (stage === 'GATHERING' || stage === 'ASKED' || stage === 'BLOCKED'))
    return stage;
  return stage === 'BLOCKED' ? 'BLOCKED' : 'DELIVERING';
}
