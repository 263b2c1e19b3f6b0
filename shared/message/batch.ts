/**
 * The body of a batch: a JSON array of its items, of the type `application/vnd.setway.batch+json`.
 *
 *     [{"id": "a", "tag": "eu", "contentType": "application/json", "headers": {"x-shop": "7"}, "body": {"order": 1}},
 *      {"contentType": "image/png", "bodyBase64": "iVBORw0…"}]
 *
 * An item whose type is JSON has its `body` as it was sent; any other has `bodyBase64`, so that bytes stay bytes.
 */
import { Buffer } from 'node:buffer';
import { Problem } from '../problem.ts';
import type { Draft } from './message.ts';

export const batchType = 'application/vnd.setway.batch+json';

export interface BatchItem {
  /** The sender's own name of the item. */
  readonly id: string | null;
  readonly tag: string | null;
  readonly contentType: string;
  /** The sender's own headers, lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
}

/** What an item is made of: a draft as it was read, and how it came to its body. */
export interface BatchPart extends Pick<Draft, 'body' | 'contentType' | 'headers' | 'tag'> {
  readonly id: string | undefined;
  /** `json`: its bytes are a JSON text. */
  readonly form: 'json' | 'bytes';
}

/** @example encodeBatch([{ id: undefined, form: 'json', body, contentType: 'application/json', headers: {} }]) */
export function encodeBatch(parts: readonly BatchPart[]): Uint8Array {
  return Buffer.from(`[${parts.map(partText).join(',')}]`);
}

function partText({ id, tag, contentType, headers, body, form }: BatchPart): string {
  const own = Object.keys(headers).length > 0 ? { headers } : {};
  const head = JSON.stringify({ id, tag, contentType, ...own }).slice(0, -1);
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return form === 'json'
    ? `${head},"body":${bytes.toString()}}`
    : `${head},"bodyBase64":"${bytes.toString('base64')}"}`;
}

/**
 * The items in a batch's body, in their order.
 * @throws Problem `invalid-json` when it is none
 */
export function decodeBatch(body: Uint8Array): readonly BatchItem[] {
  const items = parsed(body);
  if (!Array.isArray(items)) throw new Problem('invalid-json', 'A batch is a JSON array of items.');
  return items.map(itemOf);
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(body));
  } catch (cause) {
    throw new Problem('invalid-json', 'The body of the batch is not JSON in UTF-8.', { cause });
  }
}

function itemOf(item: unknown): BatchItem {
  if (typeof item !== 'object' || item === null) throw new Problem('invalid-json', 'An item is an object.');
  const { id, tag, contentType, headers, body, bodyBase64 } = item as Record<string, unknown>;
  return {
    id: typeof id === 'string' ? id : null,
    tag: typeof tag === 'string' ? tag : null,
    contentType: typeof contentType === 'string' ? contentType : 'application/json',
    headers: (headers ?? {}) as Readonly<Record<string, string>>,
    bytes:
      typeof bodyBase64 === 'string'
        ? Buffer.from(bodyBase64, 'base64')
        : Buffer.from(JSON.stringify(body) ?? 'null'),
  };
}
