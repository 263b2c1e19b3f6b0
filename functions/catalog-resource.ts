/**
 * What topics and subscriptions have in common over HTTP: versions, pages, and where a change comes from.
 *
 *   ETag        names the version of an entry by its content. A change and a removal need `If-Match` (RFC 9110 §13.1.1):
 *               without it 428, with another version 412, `*` means whatever is there.
 *   Idempotency-Key  on a creation: the same request again is answered as the first time; another one is refused. The
 *               name itself makes a creation happen once, so the key only tells a repeat from a clash.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Problem } from '../shared/problem.ts';
import { keyReused } from '../shared/publish/offer-in-turn.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { readCursor, writeCursor } from './cursor.ts';
import { readSmallBody } from './json-body.ts';
import { defaultLimit } from './search-messages.ts';

/** Entries of one list, as the seed allows. */
export const maxEntries = 10_000;

/** @returns the version of an entry, as an entity tag */
export function versionTag(entry: object): string {
  return `"${createHash('sha256').update(canonical(entry)).digest('base64url').slice(0, 22)}"`;
}

/** JSON with sorted names: Postgres keeps them in an order of its own. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  const sorted = fields.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}

/** @throws Problem `precondition-required`, `precondition-failed` */
export function requireMatch(request: Request, tag: string): void {
  const wanted = request.headers.get('if-match');
  if (wanted === null) {
    const detail = 'Send "If-Match" with the ETag of the version you mean, or "*" for whatever is there.';
    throw new Problem('precondition-required', detail);
  }
  const tags = wanted.split(',').map((each) => each.trim());
  if (tags.includes('*') || tags.includes(tag)) return;
  throw new Problem('precondition-failed', 'It has changed since. Read it and decide again.', {
    headers: { etag: tag },
  });
}

export const ifMatchHeader = z.object({
  'If-Match': z
    .string()
    .meta({ description: 'The ETag of the version that is meant, or `*`.', example: '*' }),
});

/** The fields of a request, as JSON has them. @throws Problem `invalid-json`, `invalid-request` */
export async function readFields(request: Request): Promise<Readonly<Record<string, unknown>>> {
  const body = await readSmallBody(request);
  const value = body.length === 0 ? {} : readStrictJson(body);
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw refused('/', 'An object is due here.');
}

/**
 * A merge patch of one level (RFC 7396): what is given replaces, null takes away, so that the default holds.
 * @param fixed fields that never change, in words
 */
export function patched(
  before: object,
  fields: Readonly<Record<string, unknown>>,
  fixed: Readonly<Record<string, string>>,
): Readonly<Record<string, unknown>> {
  for (const [field, why] of Object.entries(fixed)) if (field in fields) throw refused(`/${field}`, why);
  const merged = Object.entries({ ...before, ...fields }).filter(([, value]) => value !== null);
  return Object.fromEntries(merged);
}

export function refused(at: string, detail: string): Problem {
  return new Problem('invalid-request', `${at}: ${detail}`, { faults: [{ at, detail }] });
}

/** What tells a repeated creation from another one; undefined without an Idempotency-Key. */
export function makerOf(request: Request, fields: object): string | undefined {
  const key = request.headers.get('idempotency-key');
  if (key === null) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw refused('Idempotency-Key', '1 to 255 visible ASCII characters.');
  const digest = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 22);
  return `${digest(key)}.${digest(canonical(fields))}`;
}

/**
 * Whether what is there under the name was made by this very request.
 * @throws Problem `key-reused` when it was made under this key by another request; `conflict` when the name is taken
 */
export function isRepeat(
  found: { readonly name: string; readonly owner: string; readonly madeBy?: string } | undefined,
  maker: { readonly owner: string; readonly madeBy: string | undefined },
): boolean {
  if (!found) return false;
  if (maker.madeBy !== undefined && found.owner === maker.owner) {
    if (found.madeBy === maker.madeBy) return true;
    if (found.madeBy?.split('.')[0] === maker.madeBy.split('.')[0]) throw keyReused();
  }
  throw new Problem('conflict', `The name "${found.name}" is taken.`);
}

const position = z.string().max(128);

interface PageQuery {
  readonly limit?: string | undefined;
  readonly cursor?: string | undefined;
}

/** One page of entries, by name. */
export function pageOf<T extends { readonly name: string }>(
  entries: readonly T[],
  { limit: limitText, cursor, ...asked }: PageQuery,
): { readonly page: readonly T[]; readonly next?: string } {
  const limit = Number(limitText ?? defaultLimit);
  const after = cursor === undefined ? '' : readCursor(cursor, asked, position);
  const rest = entries.filter(({ name }) => name > after).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const page = rest.slice(0, limit);
  const last = rest.length > limit ? page.at(-1) : undefined;
  return { page, ...(last === undefined ? {} : { next: writeCursor(asked, last.name) }) };
}
