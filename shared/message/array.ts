/**
 * Several messages in one webhook call, each a delivery of its own: a JSON array of the type
 * `application/vnd.setway.array+json`.
 *
 *     [{"id": "msg_…", "attempt": 1, "tag": "eu", "key": "user-1", "contentType": "application/json", "body": {"order": 1}},
 *      {"id": "msg_…", "attempt": 3, "contentType": "image/png", "headers": {"x-shop": "7"}, "bodyBase64": "iVBORw0…"}]
 *
 * A JSON body stands as it is when that gives back its bytes, since receivers compare them; any other is base64.
 * A 2xx may name what failed: `{"failed": ["msg_…", {"id": "msg_…", "error": "…", "retryAfter": 5, "nonRetryable": true}]}`.
 * Any other answer is that of every message.
 */
import { Buffer } from 'node:buffer';
import type { Message } from './message.ts';

export const arrayType = 'application/vnd.setway.array+json';

/** One message of an array. */
export interface ArrayItem {
  readonly message: Message;
  readonly attempt: number;
  /** Names this delivery, for whoever answers it later. */
  readonly delivery: string;
}

export function encodeArray(items: readonly ArrayItem[]): Uint8Array {
  return Buffer.from(`[${items.map(itemText).join(',')}]`);
}

function itemText({ message, attempt, delivery }: ArrayItem): string {
  const { id, tag, key, contentType, headers, batch, traceparent } = message;
  const own = Object.keys(headers).length > 0 ? { headers } : {};
  const { session, size } = batch ?? {};
  const said = { id, attempt, delivery, tag, key, session, size, traceparent, contentType, ...own };
  const head = JSON.stringify(said).slice(0, -1);
  const bytes = Buffer.from(message.body.buffer, message.body.byteOffset, message.body.byteLength);
  const json = canonicalJson(bytes);
  return json === undefined
    ? `${head},"bodyBase64":"${bytes.toString('base64')}"}`
    : `${head},"body":${json}}`;
}

/** The text, if reading and writing it gives the same bytes. */
function canonicalJson(bytes: Buffer): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return JSON.stringify(JSON.parse(text)) === text ? text : undefined;
  } catch {
    return undefined;
  }
}

/** One message of an array as it arrived, with the headers it would have had alone. */
export interface ArrivedItem {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
}

/** @returns undefined when the body is none */
export function decodeArray(body: Uint8Array): readonly ArrivedItem[] | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(body);
    const items = JSON.parse(text) as unknown;
    return Array.isArray(items) ? items.map(arrivedOf) : undefined;
  } catch {
    return undefined;
  }
}

const headerOf = {
  attempt: 'setway-attempt',
  delivery: 'setway-delivery',
  tag: 'setway-tag',
  key: 'setway-key',
  session: 'setway-session',
  size: 'setway-size',
  traceparent: 'traceparent',
  contentType: 'content-type',
} as const;

function arrivedOf(given: unknown): ArrivedItem {
  const item = given as Record<string, unknown>;
  const { id, body, bodyBase64, headers } = item;
  if (typeof id !== 'string') throw new TypeError('An item of an array has an id.');
  const said = Object.entries(headerOf).flatMap(([field, name]) =>
    typeof item[field] === 'string' || typeof item[field] === 'number'
      ? [[name, String(item[field])] as const]
      : [],
  );
  return {
    id,
    headers: { ...(headers as Record<string, string> | undefined), ...Object.fromEntries(said) },
    bytes:
      typeof bodyBase64 === 'string'
        ? Buffer.from(bodyBase64, 'base64')
        : Buffer.from(JSON.stringify(body) ?? 'null'),
  };
}

/** What a receiver says of one message that failed. */
export interface FailedItem {
  readonly id: string;
  readonly error?: string;
  readonly retryAfterMs?: number;
  readonly nonRetryable?: boolean;
}

/** Reads `{"failed": […]}`; what is none, or says nothing of the kind, names nobody. */
export function readFailed(text: string): readonly FailedItem[] {
  try {
    const { failed } = JSON.parse(text) as { readonly failed?: unknown };
    return Array.isArray(failed) ? failed.flatMap(failedOf) : [];
  } catch {
    return [];
  }
}

function failedOf(given: unknown): readonly FailedItem[] {
  if (typeof given === 'string') return [{ id: given }];
  const { id, error, retryAfter, nonRetryable } = (given ?? {}) as Record<string, unknown>;
  if (typeof id !== 'string') return [];
  return [
    {
      id,
      ...(typeof error === 'string' ? { error: error.slice(0, 1024) } : {}),
      ...(typeof retryAfter === 'number' && retryAfter >= 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
      ...(nonRetryable === true ? { nonRetryable } : {}),
    },
  ];
}
