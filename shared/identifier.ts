/**
 * Ids are UUIDv7 (RFC 9562 §5.7) made where they are needed, without asking anyone:
 *
 *     48 bits  Unix milliseconds
 *      4 bits  version (7)
 *     12 bits  SET number (0–4095): the SET the message was offered to first
 *      2 bits  variant
 *      6 bits  database shard (0–63) inside that SET
 *     56 bits  random
 *
 * Their text form is a prefix and 26 characters of Crockford base32 in lower case (the TypeID form), so an id says
 * what it names, sorts by time, and tells any edge where to look first. Ids are ordered by the clock of the edge that
 * made them, not by commit: never page by id alone. The id of a publish under an idempotency key is derived from the key
 * (shared/publish/accept.ts): its time is exact to the UTC day only.
 */
import { Buffer } from 'node:buffer';
import { Problem } from './problem.ts';

declare const brand: unique symbol;
export type MessageId = `msg_${string}` & { readonly [brand]: 'message' };
/** A transaction of half messages: in the same database as its messages. */
export type TransactionId = `txn_${string}` & { readonly [brand]: 'transaction' };
/** A cron schedule: in the database that publishes its messages. */
export type ScheduleId = `sch_${string}` & { readonly [brand]: 'schedule' };
/** A redrive of dead letters, or a replay of a subscription: the same id in every SET that takes part. */
export type RedriveId = `rdr_${string}` & { readonly [brand]: 'redrive' };
/** What any of them can be asked. */
export type SetwayId = MessageId | TransactionId | ScheduleId | RedriveId;

export interface Origin {
  /** Number of the SET the message was offered to first, 0–4095. */
  readonly setNumber: number;
  /** Index of the database inside that SET, 0–63. */
  readonly shard: number;
}

export const maxSetNumber = 4095;
/** 6 bits. */
const maxShard = 63;

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const digitOf = new Int8Array(128).fill(-1);
for (let value = 0; value < alphabet.length; value++) digitOf[alphabet.charCodeAt(value)] = value;

const randomBytes = 7;
/** Drawn for many ids at once: asking the system costs more than all the rest of making an id. */
const drawn = new Uint8Array(randomBytes * 512);
let used = drawn.length;

function drawRandom(): Uint8Array {
  if (used === drawn.length) {
    crypto.getRandomValues(drawn);
    used = 0;
  }
  return drawn.subarray(used, (used += randomBytes));
}

/**
 * A new message id.
 * @param random 7 random bytes
 * @example mintMessageId({ setNumber: 1, shard: 0 }, Date.now())
 */
export function mintMessageId(origin: Origin, nowMs: number, random: Uint8Array = drawRandom()): MessageId {
  return `msg_${mint(origin, nowMs, random)}` as MessageId;
}

/** The transaction of a message that is the first of its unit: the same database, the same digits. */
export function transactionOf(first: MessageId): TransactionId {
  return `txn_${first.slice(4)}` as TransactionId;
}

/** @param random 7 bytes: of a digest, so that a repeated request names the same schedule */
export function mintScheduleId(origin: Origin, nowMs: number, random: Uint8Array = drawRandom()): ScheduleId {
  return `sch_${mint(origin, nowMs, random)}` as ScheduleId;
}

/** @param random 7 bytes: of a digest, so that a repeated request names the same redrive */
export function mintRedriveId(nowMs: number, random: Uint8Array = drawRandom()): RedriveId {
  return `rdr_${mint({ setNumber: 0, shard: 0 }, nowMs, random)}` as RedriveId;
}

function mint(origin: Origin, nowMs: number, random: Uint8Array): string {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(nowMs / 2 ** 32));
  view.setUint32(2, nowMs % 2 ** 32);
  view.setUint16(6, 0x7000 | (origin.setNumber & maxSetNumber));
  bytes[8] = 0x80 | (origin.shard & maxShard);
  bytes.set(random.subarray(0, randomBytes), 9);
  return encode(bytes);
}

/** The id as a message id, or a 404: a malformed id names nothing. */
export function parseMessageId(text: string): MessageId {
  return parseId(text, 'msg', 'message') as MessageId;
}

/** The id as a schedule's, or a 404. */
export function parseScheduleId(text: string): ScheduleId {
  return parseId(text, 'sch', 'schedule') as ScheduleId;
}

/** The id as a redrive's, or a 404. */
export function parseRedriveId(text: string): RedriveId {
  return parseId(text, 'rdr', 'redrive') as RedriveId;
}

/** The id as a transaction id, or a 404. */
export function parseTransactionId(text: string): TransactionId {
  return parseId(text, 'txn', 'transaction') as TransactionId;
}

/** Whether it has the form of a message id, for where anything else is no error. */
export function isMessageId(text: unknown): text is MessageId {
  return typeof text === 'string' && isId(text, 'msg');
}

function isId(text: string, prefix: string): boolean {
  return text.startsWith(`${prefix}_`) && /^[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(text.slice(4));
}

function parseId(text: string, prefix: string, named: string): string {
  if (isId(text, prefix)) return text;
  throw new Problem(
    'not-found',
    `There is no ${named} with this id. Ids look like ${prefix}_01h455vb4pex5vsknk084sn02q.`,
  );
}

/** Where a message was offered first; where a transaction or a schedule is kept, unless that failed over. */
export function originOf(id: SetwayId): Origin {
  const bytes = decode(id.slice(4));
  return { setNumber: ((bytes[6] ?? 0) & 0x0f) * 256 + (bytes[7] ?? 0), shard: (bytes[8] ?? 0) & 0x3f };
}

/** When the id was made, in Unix milliseconds by the clock of the edge that made it. */
export function mintedAtMs(id: SetwayId): number {
  const view = new DataView(decode(id.slice(4)).buffer);
  return view.getUint16(0) * 2 ** 32 + view.getUint32(2);
}

/** The form databases keep: `0190a1b2-…`. */
export function toUuid(id: SetwayId): string {
  const hex = Buffer.from(decode(id.slice(4))).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** A schedule's id by its digits. */
export function scheduleOf(digits: MessageId): ScheduleId {
  return `sch_${digits.slice(4)}` as ScheduleId;
}

/** A redrive's id by its digits. */
export function redriveOf(digits: MessageId): RedriveId {
  return `rdr_${digits.slice(4)}` as RedriveId;
}

/**
 * The first and the last id that may have been made in the same millisecond, as databases keep them: all messages of a
 * unit lie between them, and so in one day's partition.
 */
export function uuidsAround(id: SetwayId): readonly [first: string, last: string] {
  const time = toUuid(id).slice(0, 13);
  return [`${time}-0000-0000-000000000000`, `${time}-ffff-ffff-ffffffffffff`];
}

export function fromUuid(uuid: string): MessageId {
  return `msg_${encode(Buffer.from(uuid.replaceAll('-', ''), 'hex'))}` as MessageId;
}

/** 128 bits as 26 digits of 5 bits, the first of them holding 3 bits. */
function encode(bytes: Uint8Array): string {
  let text = '';
  let buffer = 0;
  let bits = 2; // 130 bits are written: two leading zero bits fill up the first digit
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(buffer >> bits) & 31];
    }
  }
  return text;
}

function decode(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  let buffer = 0;
  let bits = -2;
  let index = 0;
  for (let position = 0; position < text.length; position++) {
    buffer = ((buffer << 5) | (digitOf[text.charCodeAt(position)] ?? 0)) & 0xffff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[index++] = (buffer >> bits) & 255;
    }
  }
  return bytes;
}
