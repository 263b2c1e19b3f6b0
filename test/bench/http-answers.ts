/**
 * Reads the answers on one keep-alive connection (RFC 9112), as little as a load generator needs: where each one ends,
 * and its status. Bodies have a `Content-Length` or are chunked; nothing here answers otherwise.
 */
export function createAnswerReader(onAnswer: (status: number) => void): (chunk: Buffer) => void {
  let bytes: Buffer = Buffer.alloc(0);
  return (chunk) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    for (let end = endOfAnswer(bytes); end !== undefined; end = endOfAnswer(bytes)) {
      const status = Number(bytes.toString('latin1', 9, 12));
      bytes = bytes.subarray(end);
      onAnswer(status);
    }
  };
}

/** Length of the first answer; undefined while it is incomplete. */
function endOfAnswer(bytes: Buffer): number | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length === undefined && /\r\ntransfer-encoding: *chunked/i.test(head))
    return endOfChunks(bytes, headEnd + 4);
  const end = headEnd + 4 + Number(length ?? 0);
  return end <= bytes.length ? end : undefined;
}

function endOfChunks(bytes: Buffer, from: number): number | undefined {
  let at = from;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    at = lineEnd + 2 + size + 2;
    if (at > bytes.length) return undefined;
    if (size === 0) return at;
  }
}
