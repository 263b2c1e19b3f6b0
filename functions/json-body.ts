import type { z } from 'zod';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { didYouMean } from '../shared/nearest-name.ts';
import { Problem } from '../shared/problem.ts';
import { readBody, refuseEncodedBody, requireJsonType } from './request-body.ts';

/** Requests that say what to do rather than carry messages: a thousand ids are 33 KB. */
const maxBytes = 65_536;

/**
 * The bytes of a small JSON request; none at all when the request has no body.
 * @throws Problem `unsupported-media-type`, `too-large`
 */
export async function readSmallBody(request: Request): Promise<Uint8Array> {
  refuseEncodedBody(request);
  const body = await readBody(request, maxBytes);
  if (body.length > 0) requireJsonType(request);
  return body;
}

/**
 * What the bytes say, by its schema. No bytes say `{}`.
 * @throws Problem `invalid-json`; `invalid-request` with every fault by JSON pointer
 */
export function readJson<Shape extends z.ZodRawShape>(
  body: Uint8Array,
  schema: z.ZodObject<Shape>,
): z.infer<z.ZodObject<Shape>> {
  return readValue(body.length === 0 ? {} : readStrictJson(body), schema);
}

/**
 * A value that is JSON, by its schema.
 * @throws Problem `invalid-request` with every fault by JSON pointer
 */
export function readValue<Shape extends z.ZodRawShape>(
  value: unknown,
  schema: z.ZodObject<Shape>,
): z.infer<z.ZodObject<Shape>> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.flatMap((issue) => {
    const at = issue.path.map((part) => `/${String(part)}`).join('');
    if (issue.code !== 'unrecognized_keys') return [{ at: at || '/', detail: issue.message }];
    return issue.keys.map((key) => ({
      at: `${at}/${key.slice(0, 64)}`,
      detail: `There is no such field.${at === '' ? didYouMean(key, Object.keys(schema.shape)) : ''}`,
    }));
  });
  const [first] = faults;
  throw new Problem('invalid-request', `${first?.at}: ${first?.detail}`, { faults: faults.slice(0, 20) });
}
