/**
 * What is refused before any door is looked at: URLs and header fields that are too long, and odd paths. No path of
 * this API needs an escape, so `%`, `//`, `\` and dot segments are only ever attempts to look like another path; on
 * Node the request line is seen as it came, elsewhere as the platform has normalised it.
 */
import { Problem } from '../shared/problem.ts';

/** Longest request target, in characters. */
const maxUrlLength = 16 * 1024;
/** All header fields, names and values, in bytes. */
const maxHeaderBytes = 32 * 1024;

/** The part of the Node server's request that is looked at; absent on other platforms. */
export interface NodeBindings {
  readonly incoming?: { readonly url?: string; readonly rawHeaders?: readonly string[] };
}

const oddPath = /[%\\]|\/\/|\/\.{1,2}(?:\/|$)/;

/** @throws Problem `uri-too-long`, `headers-too-large` or `not-found` */
export function checkTransport(request: Request, bindings: NodeBindings | undefined): void {
  const incoming = bindings?.incoming;
  const target = targetOf(incoming?.url ?? request.url);
  if (target.length > maxUrlLength) {
    throw new Problem('uri-too-long', `A URL has at most ${maxUrlLength} characters.`);
  }
  if (headerBytes(request, incoming?.rawHeaders) > maxHeaderBytes) {
    throw new Problem(
      'headers-too-large',
      `All header fields together have at most ${maxHeaderBytes} bytes.`,
    );
  }
  const query = target.indexOf('?');
  if (oddPath.test(query === -1 ? target : target.slice(0, query))) {
    throw new Problem('not-found', 'There is nothing at this path. Paths here need no escapes and no dots.');
  }
}

/** Path and query of an absolute URL, or of what is one already. */
function targetOf(url: string): string {
  return url.startsWith('/') ? url : url.slice(url.indexOf('/', url.indexOf('://') + 3));
}

/** The raw list, if there is one: going through `Headers` costs the Node server the building of it. */
function headerBytes(request: Request, rawHeaders: readonly string[] | undefined): number {
  let bytes = 0;
  if (rawHeaders) for (const text of rawHeaders) bytes += text.length;
  else for (const [name, value] of request.headers) bytes += name.length + value.length;
  return bytes;
}
