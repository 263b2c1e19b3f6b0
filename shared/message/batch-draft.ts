/**
 * From what a client sent as a batch to its one draft: `{topic, tag?, key?, session?, messages[], headers?, route?,
 * deliverAfter? | deliverAt?, expiresAfter?}`. All items travel in one message, so they are stored, sent and delivered
 * together or not at all; one bad item refuses the batch.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { asProblem, Problem, type Fault } from '../problem.ts';
import { batchType, encodeBatch, type BatchPart } from './batch.ts';
import { faultsOf, isJsonType, readDraft, refused } from './draft.ts';
import { publishSchema, sessionName } from './draft-schema.ts';
import type { Batch, Draft } from './message.ts';

/** A handler takes them all at once, within one webhook call. */
export const maxBatchItems = 1000;
/** Object members of a whole batch. */
export const maxBatchMembers = 50_000;

const { topic, tag, key, route, headers, deliverAfter, deliverAt, expiresAfter, retries, callback } =
  publishSchema.shape;
const { body, bodyBase64, contentType } = publishSchema.shape;

const itemSchema = z
  .strictObject({
    id: sessionName.optional().meta({
      description: 'Your name of the item, once in the batch; the handler sees it.',
      example: 'line-1',
    }),
    tag: tag.meta({ description: 'For the handler; what decides where the batch goes is its own tag.' }),
    body,
    bodyBase64,
    contentType,
    headers,
  })
  .meta({ id: 'BatchItem' });

export const batchSchema = z
  .strictObject({
    topic,
    tag,
    key,
    session: sessionName.optional().meta({
      description: 'Name of the batch, for search and the handler: yours, or made for you.',
      example: 'import-17',
    }),
    messages: z
      .array(itemSchema)
      .min(1, 'At least 1 item.')
      .max(maxBatchItems, `At most ${maxBatchItems} items.`),
    headers,
    route,
    deliverAfter,
    deliverAt,
    expiresAfter,
    retries,
    callback,
  })
  .meta({ id: 'Batch', description: 'Items that are stored, sent and delivered as one.' });

type BatchRequest = z.infer<typeof batchSchema>;
type Item = BatchRequest['messages'][number];

export interface BatchReading {
  readonly nowMs: number;
  /** Of the whole batch as one message. */
  readonly maxBodyBytes: number;
  /** A retry under the same key is the same session. */
  readonly idempotency?: { readonly key: string; readonly fingerprint: string } | undefined;
}

export interface BatchDraft extends Draft {
  readonly batch: Batch;
}

/**
 * @throws Problem `invalid-json` when it is no object, `invalid-request` with every fault by JSON pointer, `too-large`
 *   with the size it has as one message
 * @example readBatch({ topic: 'orders', messages: [{ body: 1 }, { body: 2 }] }, { nowMs, maxBodyBytes: 1_048_576 })
 */
export function readBatch(value: unknown, reading: BatchReading): BatchDraft {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Problem(
      'invalid-json',
      'The body is JSON but not an object. Send {"topic": …, "messages": […]}.',
    );
  const parsed = batchSchema.safeParse(value);
  if (!parsed.success) {
    const known = Object.keys(batchSchema.shape);
    throw refused(parsed.error.issues.flatMap((issue) => faultsOf(issue, known)));
  }
  const { messages, session, ...envelope } = parsed.data;
  const faults: Fault[] = [...doubledIds(messages)];
  const parts = messages.flatMap((item, index) => readItem(envelope.topic, { item, index }, faults));
  const shell = readPart({ ...defined(envelope), body: null }, { at: '', nowMs: reading.nowMs }, faults);
  if (faults.length > 0 || !shell) throw refused(faults);
  const batch = { session: session ?? newSession(reading), size: messages.length };
  return { ...shell, body: bodyOf(parts, reading.maxBodyBytes), contentType: batchType, batch };
}

function bodyOf(parts: readonly BatchPart[], maxBodyBytes: number): Uint8Array {
  const bytes = encodeBatch(parts);
  if (bytes.length <= maxBodyBytes) return bytes;
  throw new Problem(
    'too-large',
    `As one message this batch has ${bytes.length} bytes; a message has at most ${maxBodyBytes}. Send several batches.`,
  );
}

function newSession({ idempotency }: BatchReading): string {
  if (!idempotency) return `ses_${crypto.randomUUID()}`;
  const digest = createHash('sha256').update(`${idempotency.key}\n${idempotency.fingerprint}`).digest('hex');
  return `ses_${digest.slice(0, 32)}`;
}

function* doubledIds(items: readonly Item[]): Generator<Fault> {
  const seen = new Map<string, number>();
  for (const [index, { id }] of items.entries()) {
    if (id === undefined) continue;
    const first = seen.get(id);
    if (first === undefined) seen.set(id, index);
    else
      yield { at: `/messages/${index}/id`, detail: `Items ${first} and ${index} have the same id "${id}".` };
  }
}

function readItem(
  topicOfBatch: string,
  { item, index }: { readonly item: Item; readonly index: number },
  faults: Fault[],
): readonly BatchPart[] {
  const { id, ...message } = item;
  const given = { topic: topicOfBatch, ...defined(message) };
  const draft = readPart(given, { at: `/messages/${index}`, nowMs: 0 }, faults);
  if (!draft) return [];
  const isJson = item.bodyBase64 === undefined && isJsonType(draft.contentType);
  return [{ ...draft, id, form: isJson ? 'json' : 'bytes' }];
}

/** One message as a publish of its own would be read. */
function readPart(
  given: object,
  { at, nowMs }: { readonly at: string; readonly nowMs: number },
  faults: Fault[],
): Draft | undefined {
  try {
    return readDraft(given, nowMs);
  } catch (error) {
    const found = asProblem(error).extras.faults ?? [];
    faults.push(...found.map((fault) => ({ at: at + fault.at, detail: fault.detail })));
    return undefined;
  }
}

function defined(given: object): object {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
