/**
 * From what a client sent to a `Draft` within all limits. Two forms:
 *
 * JSON form   `{topic, tag?, key?, lane?, mode?, body | bodyBase64, contentType?, headers?, route?, deliverAfter? | deliverAt?,
 *             expiresAfter?, retries?, callback?}`
 * raw form    the payload is the request's body, byte for byte, its type is `Content-Type`, and the rest are headers:
 *
 *   Setway-Tag              eu.created
 *   Setway-Key              user-42
 *   Setway-Lane             user-42
 *   Setway-Mode             confirm | fast
 *   Setway-Set              hangzhou
 *   Setway-Route-Fallback   only | prefer            needs Setway-Set
 *   Setway-Deliver-After    10m                      or Setway-Deliver-At: 2026-12-24T18:00:00Z
 *   Setway-Expires-After    1h
 *   Setway-Retries          5s, 1m, 10m; attempts=5    or exponential; first=5s; factor=3; max=6h; attempts=8
 *   Setway-Callback-Success https://…                   and Setway-Callback-Failure
 *   Setway-Header-<name>    a header <name> of the client's own, passed on to the webhook
 *
 * An unknown `Setway-*` header is refused like an unknown field. `Setway-Latitude` and `Setway-Longitude` are read
 * elsewhere (shared/sets/place.ts): they are about the request, not about the message.
 */
import { Buffer } from 'node:buffer';
import { didYouMean } from '../nearest-name.ts';
import { Problem } from '../problem.ts';
import type { Fault } from '../problem.ts';
import { readClientHeaders } from './client-headers.ts';
import type { ClientHeaders } from './client-headers.ts';
import { publishSchema } from './draft-schema.ts';
import type { PublishRequest } from './draft-schema.ts';
import type { Draft } from './message.ts';
import { messageRetries, readRetriesHeader, toRetries } from './retries.ts';
import { readTimes, type GivenTimes, type Times } from './times.ts';

const jsonType = 'application/json';
const bytesType = 'application/octet-stream';

const fieldNames = Object.keys(publishSchema.shape);
const headerFields = {
  'setway-tag': 'tag',
  'setway-key': 'key',
  'setway-lane': 'lane',
  'setway-mode': 'mode',
  'setway-set': 'set',
  'setway-route-fallback': 'fallback',
  'setway-deliver-after': 'deliverAfter',
  'setway-deliver-at': 'deliverAt',
  'setway-expires-after': 'expiresAfter',
  'setway-retries': 'retries',
  'setway-callback-success': 'success',
  'setway-callback-failure': 'failure',
} as const;
type HeaderField = (typeof headerFields)[keyof typeof headerFields];
const placeHeaders: ReadonlySet<string> = new Set(['setway-latitude', 'setway-longitude']);
const clientHeaderPrefix = 'setway-header-';

/**
 * The JSON form.
 * @param value what the strict JSON reader answered
 * @param nowMs for how far ahead a time may be, and when the message expires
 * @throws Problem `invalid-json` when it is no object, `invalid-request` with every fault by JSON pointer
 * @example readDraft({ topic: 'orders', key: 'user-42', body: { order: 4711 } }, clock.nowMs())
 */
export function readDraft(value: unknown, nowMs: number): Draft {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Problem('invalid-json', 'The body is JSON but not an object. Send {"topic": …, "body": …}.');
  }
  const parsed = publishSchema.safeParse(value);
  if (!parsed.success) throw refused(parsed.error.issues.flatMap((issue) => faultsOf(issue, fieldNames)));
  const faults: Fault[] = [];
  const headers = readClientHeaders(Object.entries(parsed.data.headers ?? {}), '/headers/', faults);
  const payload = readPayload(parsed.data, faults);
  const mode = parsed.data.mode ?? 'confirm';
  const times = readTimes(parsed.data, { nowMs, mode, at: (name) => `/${name}` }, faults);
  if (faults.length > 0 || payload === undefined) throw refused(faults);
  return toDraft(parsed.data, { ...payload, headers, times });
}

export interface RawPublish {
  readonly topic: string;
  readonly headers: Iterable<readonly [name: string, value: string]>;
  readonly body: Uint8Array;
}

/**
 * The raw form.
 * @throws Problem `invalid-request` with every fault by header name
 * @example readRawDraft({ topic: 'orders', headers: request.headers, body }, clock.nowMs())
 */
export function readRawDraft(raw: RawPublish, nowMs: number): Draft {
  const faults: Fault[] = [];
  const { fields, contentType, own } = sortHeaders(raw.headers, faults);
  const headers = readClientHeaders(own, 'Setway-Header-', faults);
  const { set, fallback, retries, success, failure, ...rest } = fields;
  const request = {
    topic: raw.topic,
    ...rest,
    contentType: contentType ?? bytesType,
    ...(retries === undefined ? {} : { retries: readRetriesHeader(retries) }),
    ...((success ?? failure) === undefined ? {} : { callback: defined({ success, failure }) }),
    ...(set === undefined ? {} : { route: { set, ...(fallback === undefined ? {} : { fallback }) } }),
  };
  if (fallback !== undefined && set === undefined) {
    faults.push({
      at: 'Setway-Route-Fallback',
      detail: 'It says what happens when the SET of Setway-Set cannot.',
    });
  }
  const parsed = publishSchema.safeParse(request);
  if (!parsed.success) faults.push(...parsed.error.issues.flatMap((issue) => rawFaultsOf(issue)));
  const mode = parsed.data?.mode ?? 'confirm';
  const times = readTimes(fields, { nowMs, mode, at: headerOf }, faults);
  if (!parsed.success || faults.length > 0) throw refused(faults);
  return toDraft(parsed.data, { body: raw.body, contentType: request.contentType, headers, times });
}

function headerOf(name: keyof GivenTimes): string {
  return headerOfPath[name] ?? name;
}

interface Payload {
  readonly body: Uint8Array;
  readonly contentType: string;
}

interface Content extends Payload {
  readonly headers: ClientHeaders;
  readonly times: Times;
}

function toDraft(request: PublishRequest, content: Content): Draft {
  const { topic, tag, key, lane, callback, retries, route } = request;
  return {
    topic,
    ...(tag === undefined ? {} : { tag }),
    ...(key === undefined ? {} : { key }),
    mode: request.mode ?? 'confirm',
    body: content.body,
    contentType: content.contentType,
    headers: content.headers,
    ...content.times,
    ...(lane === undefined ? {} : { order: { kind: 'lane' as const, lane } }),
    ...(retries === undefined ? {} : { retries: toRetries(retries) }),
    ...(callback === undefined ? {} : { callback: defined(callback) }),
    ...(route === undefined ? {} : { route: { set: route.set, fallback: route.fallback ?? 'prefer' } }),
  };
}

function defined<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;
}

function readPayload(request: PublishRequest, faults: Fault[]): Payload | undefined {
  const { body, bodyBase64, contentType } = request;
  if ((body === undefined) === (bodyBase64 === undefined)) {
    faults.push({ at: '/body', detail: 'Send exactly one of body and bodyBase64.' });
    return undefined;
  }
  if (bodyBase64 !== undefined) {
    const bytes = Buffer.from(bodyBase64, 'base64');
    // Buffer skips what is no base64; the canonical form read back tells.
    if (bytes.toString('base64') === bodyBase64)
      return { body: bytes, contentType: contentType ?? bytesType };
    faults.push({ at: '/bodyBase64', detail: 'Base64 with padding (RFC 4648 §4), without line breaks.' });
    return undefined;
  }
  if (contentType === undefined || isJsonType(contentType)) {
    return { body: Buffer.from(JSON.stringify(body)), contentType: contentType ?? jsonType };
  }
  if (typeof body === 'string') return { body: Buffer.from(body), contentType };
  faults.push({ at: '/body', detail: `A body of type ${contentType} is a string, or use bodyBase64.` });
  return undefined;
}

/** `application/json` and everything that ends in `+json` (RFC 6839 §3.1), with any parameters. */
export function isJsonType(contentType: string): boolean {
  return /^[^;]*[/+]json *(?:;|$)/i.test(contentType);
}

interface SortedHeaders {
  readonly fields: Partial<Record<HeaderField, string>>;
  readonly contentType: string | undefined;
  readonly own: readonly (readonly [string, string])[];
}

function sortHeaders(headers: RawPublish['headers'], faults: Fault[]): SortedHeaders {
  const fields: Partial<Record<HeaderField, string>> = {};
  const own: (readonly [string, string])[] = [];
  let contentType: string | undefined;
  for (const [rawName, value] of headers) {
    const name = rawName.toLowerCase();
    if (name === 'content-type') contentType = value;
    if (!name.startsWith('setway-') || placeHeaders.has(name)) continue;
    if (name.startsWith(clientHeaderPrefix)) own.push([name.slice(clientHeaderPrefix.length), value]);
    else if (name in headerFields) fields[headerFields[name as keyof typeof headerFields]] = value;
    else
      faults.push({
        at: name,
        detail: `There is no such header.${didYouMean(name, Object.keys(headerFields))}`,
      });
  }
  return { fields, contentType, own };
}

/** Fields of fields. */
const fieldsWithin: Readonly<Record<string, readonly string[]>> = {
  route: ['set', 'fallback'],
  retries: Object.keys(messageRetries.shape),
  callback: ['success', 'failure'],
};

type Issue = NonNullable<ReturnType<typeof publishSchema.safeParse>['error']>['issues'][number];

/** The faults of one issue by JSON pointer. @param known the fields there are */
export function faultsOf(issue: Issue, known: readonly string[]): Fault[] {
  const pointer = issue.path
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
  if (issue.code !== 'unrecognized_keys') return [{ at: pointer, detail: issue.message }];
  const names = issue.path.length === 0 ? known : (fieldsWithin[String(issue.path.at(-1))] ?? []);
  return issue.keys.map((key) => ({
    at: `${pointer}/${key.slice(0, 64)}`,
    detail: `There is no such field.${didYouMean(key, names)}`,
  }));
}

const headerOfPath: Readonly<Record<string, string>> = {
  topic: 'topic (in the path)',
  tag: 'Setway-Tag',
  key: 'Setway-Key',
  lane: 'Setway-Lane',
  mode: 'Setway-Mode',
  contentType: 'Content-Type',
  'route.set': 'Setway-Set',
  'route.fallback': 'Setway-Route-Fallback',
  deliverAfter: 'Setway-Deliver-After',
  deliverAt: 'Setway-Deliver-At',
  expiresAfter: 'Setway-Expires-After',
  'callback.success': 'Setway-Callback-Success',
  'callback.failure': 'Setway-Callback-Failure',
};

function rawFaultsOf(issue: Issue): Fault[] {
  const path = issue.path.join('.');
  if (issue.path[0] === 'retries') return [{ at: 'Setway-Retries', detail: issue.message }];
  return [{ at: headerOfPath[path] ?? path, detail: issue.message }];
}

/** All faults as one Problem. */
export function refused(faults: readonly Fault[]): Problem {
  const [first] = faults;
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more, see errors)` : '';
  const detail = first ? `${first.at}: ${first.detail}${more}` : 'The request breaks a rule.';
  return new Problem('invalid-request', detail, { faults: faults.slice(0, 20) });
}
