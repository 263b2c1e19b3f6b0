/**
 * The client's own headers of a message: which names and values may travel with it through AMQP, Postgres and a
 * webhook call.
 *
 * Names are HTTP tokens (RFC 9110 §5.6.2), kept in lower case; values are what an HTTP field may hold (§5.5), so a
 * header can be passed on to the webhook as it is. Refused are the names that mean something on one of those ways:
 * HTTP's framing and hop-by-hop fields, what Setway says itself, and `CC`/`BCC`, which RabbitMQ takes as further
 * routing keys (Sender-Selected Distribution).
 */
import type { Fault } from '../problem.ts';

const maxClientHeaders = 100;
/** Names and values together, in bytes; amqplib throws when all headers reach 64 KiB. */
const maxClientHeaderBytes = 32 * 1024;
const maxNameBytes = 128;

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Tab and printable Latin-1. */
const fieldValue = /^[\t\x20-\x7e\xa0-\xff]*$/;

const refusedNames: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
  'content-type',
  'content-encoding',
  'traceparent',
  'cc',
  'bcc',
  '__proto__',
  'constructor',
  'prototype',
]);
const refusedPrefixes = ['webhook-', 'setway-', 'x-death'] as const;

/** Headers by lower-case name. */
export type ClientHeaders = Record<string, string>;

/**
 * Takes over `entries` into headers with lower-case names; every broken rule becomes a fault.
 * @param at where the headers stand, as the faults' prefix: `/headers/` or `Setway-Header-`
 */
export function readClientHeaders(
  entries: readonly (readonly [name: string, value: string])[],
  at: string,
  faults: Fault[],
): ClientHeaders {
  const headers: ClientHeaders = {};
  let bytes = 0;
  if (entries.length > maxClientHeaders) faults.push({ at, detail: `At most ${maxClientHeaders} headers.` });
  for (const [name, value] of entries.slice(0, maxClientHeaders)) {
    const lowerName = name.toLowerCase();
    const detail =
      brokenRule(lowerName, value) ??
      (Object.hasOwn(headers, lowerName) ? 'This name is there twice.' : undefined);
    // Latin-1: one character is one byte on the wire.
    bytes += name.length + value.length;
    if (detail === undefined) headers[lowerName] = value;
    else faults.push({ at: `${at}${shown(name)}`, detail });
  }
  if (bytes > maxClientHeaderBytes) {
    faults.push({ at, detail: `Names and values together: at most ${maxClientHeaderBytes} bytes.` });
  }
  return headers;
}

function brokenRule(name: string, value: string): string | undefined {
  if (!token.test(name)) return "A header name is made of ASCII letters, digits and !#$%&'*+-.^_`|~.";
  if (name.length > maxNameBytes) return `A header name has at most ${maxNameBytes} bytes.`;
  if (refusedNames.has(name) || refusedPrefixes.some((prefix) => name.startsWith(prefix))) {
    return 'This header is set by Setway or by the transport. Choose another name.';
  }
  if (!fieldValue.test(value)) {
    return 'A header value is made of printable Latin-1 characters, without line breaks. Encode others, or use the body.';
  }
  return undefined;
}

/** A name fit for an answer: what is not ASCII is not repeated. */
function shown(name: string): string {
  return name.slice(0, 64).replaceAll(/[^\x21-\x7e]/g, '?');
}
