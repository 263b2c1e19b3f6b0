/**
 * Where a list goes on, as an opaque text. It belongs to the question it came from: with other filters it would leave
 * out what they add, so a digest of them travels along. It needs no signature: it says nothing a client could not ask.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Problem } from '../shared/problem.ts';

const cursorSchema = z.strictObject({ q: z.string(), p: z.unknown() });

function digestOf(question: unknown): string {
  return createHash('sha256').update(JSON.stringify(question)).digest('base64url').slice(0, 12);
}

/** @param question the filters; the order of their names matters */
export function writeCursor(question: unknown, position: unknown): string {
  return Buffer.from(JSON.stringify({ q: digestOf(question), p: position })).toString('base64url');
}

/** @throws Problem `invalid-request` when it is none, or another question's */
export function readCursor<T>(cursor: string, question: unknown, position: z.ZodType<T>): T {
  const parsed = cursorSchema.safeParse(jsonOf(cursor));
  const found = parsed.success ? position.safeParse(parsed.data.p) : undefined;
  if (!parsed.success || found?.success !== true)
    throw refused('This is no cursor: use `next` of the page before as it is.');
  if (parsed.data.q !== digestOf(question)) throw refused('This cursor belongs to other filters.');
  return found.data;
}

function jsonOf(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    return undefined;
  }
}

function refused(detail: string): Problem {
  return new Problem('invalid-request', `cursor: ${detail}`, { faults: [{ at: 'cursor', detail }] });
}
