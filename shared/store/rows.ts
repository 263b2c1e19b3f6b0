/** How rows become what the model speaks of. */
import { Buffer } from 'node:buffer';
import { fromUuid, type MessageId } from '../identifier.ts';
import type { Message } from '../message/message.ts';
import { Problem } from '../problem.ts';

/** A row of the driver: values as the driver parsed them. */
export type Row = Readonly<Record<string, unknown>>;

/** Text, and bigints, which the driver also hands over as text. */
export function text(value: unknown): string {
  if (typeof value !== 'string')
    throw new Problem('internal', 'A column that holds text answered something else.');
  return value;
}

export function idOf(value: unknown): MessageId {
  return fromUuid(text(value));
}

export function textOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : text(value);
}

export function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}

/** RFC 3339 in UTC. */
export function instant(value: unknown): string {
  return (value instanceof Date ? value : new Date(text(value))).toISOString();
}

export function instantOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : instant(value);
}

/** What few messages have and nobody searches for: kept as it is beside the body. */
type Options = Pick<Message, 'order' | 'batch' | 'priority' | 'replayOf' | 'retries' | 'callback'>;

/** Undefined when there is nothing to keep. */
export function optionsOf({ order, batch, priority, replayOf, retries, callback }: Message): Row | undefined {
  const isPlain = (order ?? batch ?? priority ?? replayOf ?? retries ?? callback) === undefined;
  return isPlain ? undefined : { order, batch, priority, replayOf, retries, callback };
}

/** The way back. A copy made inside the database names its original by uuid. */
export function optionsIn(row: Row): Options {
  const { replayOf, ...options } = (row['options'] ?? {}) as Options;
  if (replayOf === undefined) return options;
  return { ...options, replayOf: replayOf.startsWith('msg_') ? replayOf : fromUuid(replayOf) };
}

/** A row of `message` joined with `message_body`, the body as base64. */
export function messageOf(row: Row): Message {
  const optional = {
    ...(row['tag'] === null ? {} : { tag: text(row['tag']) }),
    ...(row['key'] === null ? {} : { key: text(row['key']) }),
    ...(row['traceparent'] === null ? {} : { traceparent: text(row['traceparent']) }),
    ...(row['expires_at'] === null ? {} : { expiresAtMs: new Date(instant(row['expires_at'])).getTime() }),
    ...optionsIn(row),
  };
  return {
    id: idOf(row['id']),
    owner: text(row['owner']),
    topic: text(row['topic']),
    mode: 'confirm',
    body: Buffer.from(text(row['body']), 'base64'),
    contentType: text(row['content_type']),
    headers: row['headers'] as Record<string, string>,
    acceptedAtMs: new Date(instant(row['accepted_at'])).getTime(),
    placement: {
      set: text(row['set_id']),
      reason: text(row['reason']),
      ...(row['distance_km'] === null ? {} : { distanceKm: Number(row['distance_km']) }),
    },
    ...optional,
  };
}
