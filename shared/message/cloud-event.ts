/**
 * CloudEvents 1.0 in and out (https://github.com/cloudevents/spec, HTTP binding and JSON format). An event is a
 * message whose attributes travel as `ce-*` headers, so nothing is lost between the two:
 *
 *   type               tag, if it fits one and there is no Setway-Tag; always kept as ce-type
 *   partitionkey       key, unless there is a Setway-Key (Partitioning extension)
 *   datacontenttype    content type
 *   data               body
 *   id, source, subject, time, dataschema and every extension      ce-<name> header
 *   traceparent        ce-traceparent; the request's own traceparent header is used when there is none
 *
 * In: binary mode (`ce-*` headers, any body) and structured mode (`application/cloudevents+json`, one event). Options
 * that CloudEvents has no word for come as the `Setway-*` headers of the raw form.
 * Out: the same two modes. What an ordinary message lacks is filled in: id = message id, source = `/topics/<topic>`,
 * type = tag or `setway.message`, time = when it was accepted. The id of an event is not what consumers dedupe by:
 * that is the message id (`webhook-id`).
 *
 * Header values are percent-encoded as the HTTP binding says (§3.1.3.2), and kept so. Attribute names have at most 20
 * letters and digits, which the specification recommends. Booleans and integers become their text.
 */
import { Buffer } from 'node:buffer';
import { Problem } from '../problem.ts';
import { isJsonType, readRawDraft } from './draft.ts';
import type { RawPublish } from './draft.ts';
import { messageKey, messageTag } from './draft-schema.ts';
import type { Draft, Message } from './message.ts';
import { readStrictJson } from './strict-json.ts';

export const structuredType = 'application/cloudevents+json';
const prefix = 'ce-';
const attributeName = /^[a-z0-9]{1,20}$/;
/** U+0000–U+001F and U+007F–U+009F are not allowed in a String (§2.4 Type System). */
const controls = /\p{Cc}/u;

/** Attributes by name, decoded. */
type Attributes = ReadonlyMap<string, string>;
type HeaderEntries = readonly (readonly [name: string, value: string])[];

/** Which form of a CloudEvent a request has. */
export function cloudEventMode(headers: {
  get(name: string): string | null;
}): 'binary' | 'structured' | 'batch' | undefined {
  const contentType = headers.get('content-type')?.toLowerCase() ?? '';
  if (contentType.startsWith('application/cloudevents-batch')) return 'batch';
  if (contentType.startsWith('application/cloudevents')) return 'structured';
  return headers.get('ce-specversion') === null ? undefined : 'binary';
}

/**
 * Binary mode: attributes in `ce-*` headers, the request's body is the data.
 * @throws Problem `invalid-request` naming the header
 */
export function readBinaryEvent(raw: RawPublish, nowMs: number): Draft {
  const attributes = new Map<string, string>();
  const others: (readonly [string, string])[] = [];
  for (const [name, value] of raw.headers) {
    const lowerName = name.toLowerCase();
    if (!lowerName.startsWith(prefix)) others.push([lowerName, value]);
    else attributes.set(lowerName.slice(prefix.length), decodeValue(value, lowerName));
  }
  return toDraft({ ...raw, headers: others }, attributes, nowMs);
}

/**
 * Structured mode: one event as a JSON object.
 * @throws Problem `invalid-json`, or `invalid-request` naming the member
 */
export function readStructuredEvent(raw: RawPublish, nowMs: number): Draft {
  const event = readStrictJson(raw.body);
  if (typeof event !== 'object' || event === null || Array.isArray(event)) {
    throw new Problem('invalid-json', 'A structured CloudEvent is one JSON object.');
  }
  const { data, data_base64: base64, datacontenttype, ...rest } = event as Record<string, unknown>;
  const attributes = new Map<string, string>();
  for (const [name, value] of Object.entries(rest)) {
    if (value !== null) attributes.set(name, textOf(value, name));
  }
  const contentType =
    datacontenttype === undefined ? 'application/json' : textOf(datacontenttype, 'datacontenttype');
  const others = [...raw.headers].filter(([name]) => name.toLowerCase() !== 'content-type');
  const headers = [...others, ['content-type', contentType] as const];
  const body = dataBytes(data, base64, contentType);
  return toDraft({ topic: raw.topic, headers, body }, attributes, nowMs);
}

/** `ce-*` headers of a message for a delivery in binary mode; body and content type are the message's own. */
export function toBinaryEvent(message: Message): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of attributesOf(message)) headers[prefix + name] = encodeValue(value);
  return headers;
}

/** The body of a delivery in structured mode, of type `application/cloudevents+json`. */
export function toStructuredEvent(message: Message): Uint8Array {
  const event = Object.fromEntries(attributesOf(message).set('datacontenttype', message.contentType));
  const head = JSON.stringify(event);
  return Buffer.from(`${head.slice(0, -1)}${dataMember(message)}}`);
}

/** Attributes become `ce-*` client headers of the raw form, which checks the rest. */
function toDraft(raw: RawPublish, attributes: Attributes, nowMs: number): Draft {
  checkAttributes(attributes);
  const others = [...raw.headers];
  const has = (name: string) => others.some(([other]) => other.toLowerCase() === name);
  const own: HeaderEntries = [...attributes].map(([name, value]) => [
    `setway-header-${prefix}${name}`,
    encodeValue(value),
  ]);
  const tag = attributes.get('type') ?? '';
  const key = attributes.get('partitionkey');
  const derived: (readonly [string, string])[] = [];
  if (!has('setway-tag') && messageTag.safeParse(tag).success) derived.push(['setway-tag', tag]);
  if (!has('setway-key') && key !== undefined) {
    if (!messageKey.safeParse(key).success)
      throw broken('partitionkey', 'Not usable as a key; send Setway-Key too.');
    derived.push(['setway-key', key]);
  }
  return readRawDraft({ ...raw, headers: [...others, ...own, ...derived] }, nowMs);
}

function checkAttributes(attributes: Attributes): void {
  if (attributes.get('specversion') !== '1.0') throw broken('specversion', 'Only "1.0" is spoken here.');
  for (const name of ['id', 'source', 'type']) {
    if (!attributes.get(name)) throw broken(name, 'This attribute is required and not empty.');
  }
  for (const [name, value] of attributes) {
    if (!attributeName.test(name)) throw broken(name, 'Attribute names are 1 to 20 of a-z and 0-9.');
    if (controls.test(value) || !value.isWellFormed())
      throw broken(name, 'No control characters, no half surrogates.');
  }
  const source = attributes.get('source') ?? '';
  if (/[\s<>"{}|\\^`]/.test(source)) throw broken('source', 'A URI reference (RFC 3986 §4.1).');
  if (attributes.get('subject') === '') throw broken('subject', 'Not empty; leave it out instead.');
  const time = attributes.get('time');
  if (time !== undefined && !isTimestamp(time)) throw broken('time', 'A timestamp of RFC 3339.');
}

/** RFC 3339, on a day that exists: `Date` alone takes 2026-02-30 for 2 March. */
function isTimestamp(text: string): boolean {
  const match =
    /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/.exec(
      text,
    );
  if (!match) return false;
  const [, year, month, day, hour] = match.map(Number);
  const date = new Date(Date.UTC(year ?? 0, (month ?? 0) - 1, day));
  return date.getUTCMonth() + 1 === month && date.getUTCDate() === day && (hour ?? 24) < 24;
}

function textOf(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 2 ** 31)
    return String(value);
  throw broken(name, 'An attribute is a string, a boolean or an integer of 32 bits.');
}

function dataBytes(data: unknown, base64: unknown, contentType: string): Uint8Array {
  if (base64 !== undefined) {
    if (data !== undefined) throw broken('data', 'Send either data or data_base64.');
    const bytes = typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined;
    if (bytes?.toString('base64') === base64 && bytes) return bytes;
    throw broken('data_base64', 'Base64 with padding (RFC 4648 §4).');
  }
  if (data === undefined) return new Uint8Array();
  if (isJsonType(contentType)) return Buffer.from(JSON.stringify(data));
  if (typeof data === 'string') return Buffer.from(data);
  throw broken('data', `Data of type ${contentType} is a string, or use data_base64.`);
}

/** Attributes of an outgoing event: what came in, completed. */
function attributesOf(message: Message): Map<string, string> {
  const attributes = new Map([
    ['specversion', '1.0'],
    ['id', message.id as string],
    ['source', `/topics/${message.topic}`],
    ['type', message.tag ?? 'setway.message'],
    ['time', new Date(message.acceptedAtMs).toISOString()],
  ]);
  if (message.key !== undefined) attributes.set('partitionkey', message.key);
  if (message.traceparent !== undefined) attributes.set('traceparent', message.traceparent);
  for (const [header, value] of Object.entries(message.headers)) {
    const name = header.startsWith(prefix) ? header.slice(prefix.length) : '';
    if (attributeName.test(name)) attributes.set(name, decodeLeniently(value));
  }
  // These are told by the message; a header of the client's own must not contradict them.
  attributes.set('specversion', '1.0');
  attributes.delete('datacontenttype');
  attributes.delete('data');
  return attributes;
}

/** Bytes that are JSON are data as they are, other UTF-8 text is a string, the rest is base64. */
function dataMember({ body, contentType }: Message): string {
  if (body.length === 0) return '';
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
    if (isJsonType(contentType)) {
      JSON.parse(text);
      return `,"data":${text}`;
    }
    if (/^text\//i.test(contentType)) return `,"data":${JSON.stringify(text)}`;
  } catch {
    // Not what its type says: carried as bytes, which every body can be.
  }
  return `,"data_base64":"${Buffer.from(body).toString('base64')}"`;
}

/** HTTP binding §3.1.3.2: space, `"`, `%` and everything beyond printable ASCII as %XX of its UTF-8 bytes. */
function encodeValue(value: string): string {
  return value.replaceAll(/[^\x21\x23\x24\x26-\x7e]+/gu, (part) =>
    [...Buffer.from(part)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

/** An older way to write a value is a quoted string; it is taken off first. */
function decodeValue(value: string, header: string): string {
  const plain = /^".*"$/.test(value) ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1') : value;
  try {
    return decodeURIComponent(plain);
  } catch (cause) {
    throw new Problem('invalid-request', `${header}: not percent-encoded UTF-8.`, {
      cause,
      faults: [{ at: header, detail: 'Percent-encode UTF-8 bytes, and the percent sign itself.' }],
    });
  }
}

/** Header values may come from clients that never heard of CloudEvents: what cannot be decoded stays as it is. */
function decodeLeniently(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function broken(name: string, detail: string): Problem {
  const shown = name.slice(0, 64);
  return new Problem('invalid-request', `CloudEvents attribute "${shown}": ${detail}`, {
    faults: [{ at: `${prefix}${shown}`, detail }],
  });
}
