/**
 * The bytes of a request, or undefined when there are more than `maxBytes`. A body whose length is announced comes in one
 * piece, which costs much less than a stream: servers read no further than what was announced. Any other is read no
 * further than the limit.
 */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array | undefined> {
  const announced = request.headers.get('content-length');
  if (announced === null) return readStream(request, maxBytes);
  if (!(Number(announced) <= maxBytes)) return undefined;
  const body = new Uint8Array(await request.arrayBuffer());
  return body.length > maxBytes ? undefined : body;
}

async function readStream(request: Request, maxBytes: number): Promise<Uint8Array | undefined> {
  if (!request.body) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the stream.
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return join(chunks, size);
}

function join(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}
