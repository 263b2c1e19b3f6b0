/**
 * What tells one request under an idempotency key from another: SHA-256 over method, path, the headers that decide about
 * the message, and the body. Whoever publishes the same request another way (the outbox's relay) must come to the same.
 */
import { createHash, type Hash } from 'node:crypto';

export interface FingerprintedRequest {
  readonly method: string;
  readonly path: string;
  /** Any order, lower-case names; those that do not decide are left out. */
  readonly headers: Iterable<readonly [name: string, value: string]>;
  /** Takes the body, or a digest of it, into the hash. */
  readonly addBody: (hash: Hash) => void;
}

/** Not where the publisher is: one who moves between two tries sends the same message. */
const decides = /^(?:content-type$|ce-|setway-(?!latitude$|longitude$))/i;

/** @returns lower-case hex */
export function fingerprintOf({ method, path, headers, addBody }: FingerprintedRequest): string {
  const deciding = [...headers].filter(([name]) => decides.test(name));
  const head = [method, path, deciding.sort(([a], [b]) => (a < b ? -1 : 1))];
  const hash = createHash('sha256').update(JSON.stringify(head)).update('\n');
  addBody(hash);
  return hash.digest('hex');
}
