/** The body of a request: its announced type and encoding, and its bytes up to a limit, copied as little as possible. */
import { joined } from '../shared/message/json-items.ts';
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
  mediaTypeOf(request, ['application/json']);
}

/**
 * Which of these media types the body has; all of them are UTF-8.
 * @throws Problem `unsupported-media-type` when it has none of them
 */
export function mediaTypeOf<Type extends string>(request: Request, types: readonly Type[]): Type {
  const [given = '', ...parameters] = (request.headers.get('content-type') ?? '').toLowerCase().split(';');
  const type = types.find((name) => name === given.trim());
  if (type === undefined) {
    throw new Problem('unsupported-media-type', `Send "Content-Type: ${types.join('" or "')}".`, {
      headers: { accept: types.join(', ') },
    });
  }
  requireUtf8(parameters);
  return type;
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
  const length = announcedLength(request, maxBodyBytes);
  if (length !== undefined) return readWhole(request, maxBodyBytes);
  const parts: Uint8Array[] = [];
  for await (const part of readStream(request, maxBodyBytes)) parts.push(part);
  return joined(
    parts,
    parts.reduce((size, part) => size + part.length, 0),
  );
}

/** A body of this size comes in one piece: a stream costs more than it saves. */
const onePieceBytes = 256 * 1024;

/**
 * The body in pieces, as it arrives.
 * @throws Problem as `readBody`
 */
export async function* readPieces(request: Request, maxBodyBytes: number): AsyncGenerator<Uint8Array> {
  const length = announcedLength(request, maxBodyBytes);
  if (length !== undefined && length <= onePieceBytes) yield await readWhole(request, maxBodyBytes);
  else yield* readStream(request, maxBodyBytes);
}

function announcedLength(request: Request, maxBodyBytes: number): number | undefined {
  const length = request.headers.get('content-length');
  if (length === null) return undefined;
  if (!(Number(length) <= maxBodyBytes)) throw tooLarge(maxBodyBytes);
  return Number(length);
}

async function readWhole(request: Request, maxBodyBytes: number): Promise<Uint8Array> {
  const body = new Uint8Array(await request.arrayBuffer().catch(gone));
  if (body.length > maxBodyBytes) throw tooLarge(maxBodyBytes);
  return body;
}

async function* readStream(request: Request, maxBodyBytes: number): AsyncGenerator<Uint8Array> {
  let size = 0;
  const body: ReadableStream<Uint8Array> | null = request.body;
  const reader = body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(gone);
      if (done) return;
      size += value.length;
      if (size > maxBodyBytes) throw tooLarge(maxBodyBytes);
      yield value;
    }
  } finally {
    // What the client still sends is of no interest, and neither is how its stream ends.
    reader.cancel().catch(() => undefined);
  }
}

function tooLarge(maxBodyBytes: number): Problem {
  return new Problem('too-large', `A body has at most ${maxBodyBytes} bytes.`);
}

function gone(cause: unknown): never {
  throw new Problem('request-timeout', 'The body did not arrive completely.', { cause });
}
