/**
 * A strict reader of JSON from bytes. `JSON.parse` alone is too kind for a door: it takes a million levels (and
 * `JSON.stringify` dies by 5,000), turns `1e400` into Infinity and 9007199254740993 into …992, keeps the last of two
 * equal keys and lets lone surrogates through, which Postgres refuses later.
 *
 *   decode   fatal UTF-8, no byte order mark                                   400
 *   scan     one pass over the bytes: depth, number of members, every number   422
 *   parse    `JSON.parse`                                                      400
 *   walk     one pass over the value: keys, strings                            422
 *
 * Bad syntax wins over a broken limit, except depth, which is refused before anything recursive sees the text.
 * Source: RFC 8259; RFC 7493 (I-JSON) for surrogates, doubled names and numbers.
 */
import { Problem } from '../problem.ts';

/** Levels of arrays and objects, the outermost included. */
export const maxJsonDepth = 64;
/** Members of all objects together. A body with more is a document for the raw door, which does not look inside. */
export const maxJsonMembers = 10_000;

/** Characters of one number: every double has a shorter form. */
const longestNumber = 400;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Keys that reach a prototype when a careless handler copies them into an object. */
const dangerousKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * @param maxMembers for a body that carries many messages
 * @throws Problem `invalid-json` when it is no JSON text in UTF-8, `invalid-request` when it breaks a limit
 * @example readStrictJson(Buffer.from('{"topic":"orders"}')) // { topic: 'orders' }
 */
export function readStrictJson(bytes: Uint8Array, maxMembers = maxJsonMembers): unknown {
  const text = decodeUtf8(bytes);
  const scan = scanJson(bytes);
  if (scan.deepest > maxJsonDepth) throw broken('', `At most ${maxJsonDepth} levels of arrays and objects.`);
  const value = parse(text);
  if (scan.badNumber !== undefined) throw broken('', numberRule(scan.badNumber));
  if (scan.members > maxMembers) throw broken('', `At most ${maxMembers} object members.`);
  if (walk(value) !== scan.members) throw broken('', 'An object has two members of the same name.');
  return value;
}

/** Whether a JSON text is no deeper than this reader takes; says nothing of what is no JSON. */
export function isWithinDepth(bytes: Uint8Array): boolean {
  return scanJson(bytes).deepest <= maxJsonDepth;
}

function decodeUtf8(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new Problem('invalid-json', 'The body is empty. Send a JSON object.');
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new Problem('invalid-json', 'The body begins with a byte order mark. Send UTF-8 without one.');
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new Problem('invalid-json', 'The body is not valid UTF-8.', { cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // The parser's message quotes the body, so only the position is passed on.
    const position = /position (\d+)/.exec(String(cause))?.[1];
    const where = position === undefined ? '' : ` The first fault is at character ${position}.`;
    throw new Problem('invalid-json', `The body is not JSON.${where}`, { cause });
  }
}

interface Scan {
  readonly deepest: number;
  readonly members: number;
  /** The first number that JavaScript cannot hold. */
  readonly badNumber: string | undefined;
}

/** Counts outside of strings; right for every valid text, and for an invalid one `JSON.parse` has the last word. */
function scanJson(bytes: Uint8Array): Scan {
  let depth = 0;
  let deepest = 0;
  let members = 0;
  let badNumber: string | undefined;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x22) at = endOfString(bytes, at + 1);
    else if (byte === 0x3a) members++;
    else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte >= 0x30 && byte <= 0x39) {
      const end = endOfNumber(bytes, at);
      badNumber ??= misheld(bytes, at, end);
      at = end - 1;
    }
  }
  return { deepest, members, badNumber };
}

/** Index of the closing quote, or the end of the text. */
function endOfString(bytes: Uint8Array, from: number): number {
  let at = from;
  for (; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x22) return at;
    if (byte === 0x5c) at++;
  }
  return at;
}

function endOfNumber(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && isNumberByte(bytes[at] ?? 0)) at++;
  return at;
}

/** Digits, `.`, `+`, `-`, `e`, `E`; a leading minus changes no limit, so it is not looked at. */
function isNumberByte(byte: number): boolean {
  if (byte >= 0x30 && byte <= 0x39) return true;
  return byte === 0x2e || byte === 0x2b || byte === 0x2d || byte === 0x65 || byte === 0x45;
}

/** The number's text if it becomes Infinity or an integer that is not the one written. */
function misheld(bytes: Uint8Array, from: number, end: number): string | undefined {
  // Up to 15 digits are safe (2^53 has 16), and it takes an exponent of 3 digits to reach infinity.
  if (end - from < 5) return undefined;
  const text = String.fromCharCode(...bytes.subarray(from, Math.min(end, from + longestNumber)));
  if (end - from > longestNumber) return text;
  const number = Number(text);
  if (/^\d+$/.test(text)) return number > Number.MAX_SAFE_INTEGER ? text : undefined;
  return Math.abs(number) === Infinity ? text : undefined;
}

function numberRule(text: string): string {
  const shown = text.length > 24 ? `${text.slice(0, 24)}…` : text;
  return `The number ${shown} is beyond what JSON readers hold exactly (2^53 − 1 for integers, 1.8e308). Send it as a string.`;
}

/** Checks every key and string; answers the number of members. Recursion is bounded by the depth limit. */
function walk(value: unknown): number {
  if (typeof value === 'string') checkString(value);
  if (typeof value !== 'object' || value === null) return 0;
  let members = 0;
  if (Array.isArray(value)) {
    for (const item of value) members += walk(item);
    return members;
  }
  for (const key of Object.keys(value)) {
    checkString(key);
    if (dangerousKeys.has(key)) throw broken('', `"${key}" is not accepted as a name.`);
    members += 1 + walk((value as Record<string, unknown>)[key]);
  }
  return members;
}

function checkString(text: string): void {
  if (!text.isWellFormed())
    throw broken('', 'A string has half of a surrogate pair (\\ud800–\\udfff alone).');
}

function broken(at: string, detail: string): Problem {
  return new Problem('invalid-request', detail, { faults: [{ at, detail }] });
}
