/** The body of a request: its announced type and encoding, and its bytes up to a limit, copied as little as possible. */
import { Problem } from '../shared/problem.ts';

/**
 * Only bodies as they are: an encoded one would be stored without its encoding, or inflate past every limit.
 * @throws Problem `unsupported-media-type`
 */
export function refuseEncodedBody(request: Request): void {
  const encoding = request.headers.get('content-encoding');
  if (encoding === null || encoding.toLowerCase() === 'identity') return;
  throw new Problem('unsupported-media-type', 'Send the body without a Content-Encoding.', {
    headers: { 'accept-encoding': 'identity' },
  });
}

/**
 * The body is JSON in UTF-8.
 * @throws Problem `unsupported-media-type`
 */
export function requireJsonType(request: Request): void {
  const contentType = request.headers.get('content-type') ?? '';
  if (contentType === 'application/json') return;
  const [type, ...parameters] = contentType.toLowerCase().split(';');
  if (type?.trim() !== 'application/json') {
    throw new Problem('unsupported-media-type', 'Send "Content-Type: application/json".', {
      headers: { accept: 'application/json' },
    });
  }
  requireUtf8(parameters);
}

/** @throws Problem `unsupported-media-type` when a charset is named and it is not UTF-8 */
export function requireUtf8(parameters: readonly string[]): void {
  const charset = parameters.map((part) => part.trim()).find((part) => part.startsWith('charset='));
  if (charset === undefined || /^charset="?utf-?8"?$/.test(charset)) return;
  throw new Problem('unsupported-media-type', 'JSON is UTF-8 (RFC 8259 §8.1); leave the charset out.');
}

/**
 * All bytes of the body. With a Content-Length a body over the limit is refused unread; without one (chunked) as soon
 * as the limit is passed.
 * @throws Problem `too-large`, or `request-timeout` when the client went away
 */
export async function readBody(request: Request, maxBodyBytes: number): Promise<Uint8Array> {
  const length = request.headers.get('content-length');
  if (length !== null && !(Number(length) <= maxBodyBytes)) throw tooLarge(maxBodyBytes);
  if (length === null) return readStream(request, maxBodyBytes);
  const body = new Uint8Array(await request.arrayBuffer().catch(gone));
  if (body.length > maxBodyBytes) throw tooLarge(maxBodyBytes);
  return body;
}

async function readStream(request: Request, maxBodyBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const body: ReadableStream<Uint8Array> | null = request.body;
  const reader = body?.getReader();
  if (!reader) return new Uint8Array();
  for (;;) {
    const { done, value } = await reader.read().catch(gone);
    if (done) return joined(parts, size);
    size += value.length;
    if (size > maxBodyBytes) {
      // What the client still sends is of no interest, and neither is how its stream ends.
      reader.cancel().catch(() => undefined);
      throw tooLarge(maxBodyBytes);
    }
    parts.push(value);
  }
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first) return first;
  const body = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

function tooLarge(maxBodyBytes: number): Problem {
  return new Problem('too-large', `A body has at most ${maxBodyBytes} bytes.`);
}

function gone(cause: unknown): never {
  throw new Problem('request-timeout', 'The body did not arrive completely.', { cause });
}
