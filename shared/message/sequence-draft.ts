/**
 * From what a client sent as an ordered group to its drafts: `{topic, tag?, key?, session?, messages[], size?, deadline?,
 * onGap?, gapCallback?, route?}`. The items share topic, tag and key, so that a subscription hears all of them or none.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parseDurationMs } from '../duration.ts';
import { asProblem, Problem, type Fault } from '../problem.ts';
import { faultsOf, readDraft, refused } from './draft.ts';
import { publishSchema, sessionName } from './draft-schema.ts';
import type { Draft } from './message.ts';

/** All are stored in one statement and assembled in memory. */
export const maxSequence = 500;
const shortestMs = 1_000;
/** A gap that stays for longer is for a person to decide. */
const longestMs = 30 * 86_400_000;
const defaultDeadlineMs = 600_000;

const { topic, tag, key, route, body, bodyBase64, contentType, headers } = publishSchema.shape;

export const sequenceSchema = z
  .strictObject({
    topic,
    tag,
    key,
    route,
    session: sessionName.optional(),
    messages: z
      .array(
        z.strictObject({
          sequence: z
            .int('A whole number.')
            .min(1, 'Numbers begin with 1.')
            .optional()
            .meta({ description: 'Its place, 1 to the number of items; without it the place in the array.' }),
          body,
          bodyBase64,
          contentType,
          headers,
        }),
      )
      .min(1, 'At least 1 item.')
      .max(maxSequence, `At most ${maxSequence} items.`),
    size: z.int().optional().meta({ description: 'To be checked against the number of items.' }),
    deadline: z
      .union([z.number(), z.string().max(64)])
      .optional()
      .meta({
        description:
          'After this long from the first arrival, what is missing is sent again, and after a grace onGap decides: seconds or "10m", 1 s to 30 days.',
        default: '10m',
      }),
    onGap: z.enum(['block', 'skip', 'abort']).optional().meta({
      description:
        'What becomes of the sequence when an item is missing or dead. block: it waits. skip: it goes on without it. abort: the rest is given up.',
      default: 'block',
    }),
    gapCallback: z.string().max(2048, 'At most 2048 characters.').optional().meta({
      description:
        'A URL that is told, per subscription, which items are missing or dead and what onGap decided. Signed with the secrets of the topic; at least once, under one webhook-id.',
      example: 'https://shop.example.com/setway/gaps',
    }),
  })
  .meta({ id: 'Sequence', description: 'Messages to be delivered one after the other.' });

type SequenceRequest = z.infer<typeof sequenceSchema>;

export interface SequenceReading {
  readonly nowMs: number;
  /** A retry under the same key is the same session. */
  readonly idempotency?: { readonly key: string; readonly fingerprint: string } | undefined;
}

/**
 * @returns the drafts in their order
 * @throws Problem `invalid-json` when it is no object, `invalid-request` with every fault by JSON pointer
 */
export function readSequence(value: unknown, reading: SequenceReading): readonly [Draft, ...Draft[]] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Problem(
      'invalid-json',
      'The body is JSON but not an object. Send {"topic": …, "messages": …}.',
    );
  const parsed = sequenceSchema.safeParse(value);
  if (!parsed.success) {
    const known = [...Object.keys(sequenceSchema.shape), 'sequence'];
    throw refused(parsed.error.issues.flatMap((issue) => faultsOf(issue, known)));
  }
  const faults: Fault[] = [...numberFaults(parsed.data)];
  const deadlineMs = readDeadline(parsed.data.deadline, faults);
  const shared = {
    kind: 'sequence',
    session: parsed.data.session ?? newSession(reading),
    size: parsed.data.messages.length,
    deadlineMs,
    onGap: parsed.data.onGap ?? 'block',
    ...(parsed.data.gapCallback === undefined ? {} : { gapCallback: parsed.data.gapCallback }),
  } as const;
  const drafts = parsed.data.messages.flatMap(({ sequence, ...item }, index) => {
    const draft = readItem(parsed.data, { item, index, nowMs: reading.nowMs }, faults);
    return draft ? [{ ...draft, order: { ...shared, sequence: sequence ?? index + 1 } }] : [];
  });
  const [first, ...others] = drafts.toSorted((a, b) => a.order.sequence - b.order.sequence);
  if (faults.length > 0 || !first) throw refused(faults);
  return [first, ...others];
}

function newSession({ idempotency }: SequenceReading): string {
  if (!idempotency) return `seq_${crypto.randomUUID()}`;
  const digest = createHash('sha256').update(`${idempotency.key}\n${idempotency.fingerprint}`).digest('hex');
  return `seq_${digest.slice(0, 32)}`;
}

function* numberFaults({ messages, size }: SequenceRequest): Generator<Fault> {
  if (size !== undefined && size !== messages.length)
    yield { at: '/size', detail: `There are ${messages.length} items.` };
  const numbered = messages.filter(({ sequence }) => sequence !== undefined).length;
  if (numbered > 0 && numbered < messages.length)
    yield { at: '/messages', detail: 'Number all items or none.' };
  const seen = new Map<number, number>();
  for (const [index, { sequence }] of messages.entries()) {
    if (sequence === undefined) continue;
    const at = `/messages/${index}/sequence`;
    const first = seen.get(sequence);
    if (first !== undefined) yield { at, detail: `${sequence} is the number of item ${first} as well.` };
    if (sequence > messages.length) yield { at, detail: `There are ${messages.length} items.` };
    seen.set(sequence, index);
  }
}

function readDeadline(given: SequenceRequest['deadline'], faults: Fault[]): number {
  if (given === undefined) return defaultDeadlineMs;
  const at = '/deadline';
  try {
    const ms = parseDurationMs(given, { at, maxMs: longestMs });
    if (ms < shortestMs) faults.push({ at, detail: 'At least 1 second.' });
    return ms;
  } catch (error) {
    faults.push(...(asProblem(error).extras.faults ?? []));
    return defaultDeadlineMs;
  }
}

interface GivenItem {
  readonly item: object;
  readonly index: number;
  readonly nowMs: number;
}

function readItem(
  { topic: name, tag: label, key: whom, route: choice }: SequenceRequest,
  { item, index, nowMs }: GivenItem,
  faults: Fault[],
): Draft | undefined {
  const shared = Object.entries({ topic: name, tag: label, key: whom, route: choice });
  const given = Object.fromEntries(shared.filter(([, value]) => value !== undefined));
  try {
    return readDraft({ ...given, ...item }, nowMs);
  } catch (error) {
    const found = asProblem(error).extras.faults ?? [];
    faults.push(...found.map(({ at, detail }) => ({ at: `/messages/${index}${at}`, detail })));
    return undefined;
  }
}
