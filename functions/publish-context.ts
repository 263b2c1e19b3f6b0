/**
 * What every publishing door reads beside the messages themselves: who, from where, how long to wait, which key.
 *
 *   Prefer: wait=5       (RFC 7240) holds the answer up to 5 s, at most 10, for the broker's confirm; the answer says
 *                        what was applied. Anything else in Prefer is ignored, as that RFC asks.
 *   Idempotency-Key      1 to 255 visible ASCII characters. The fingerprint that tells one request from another is
 *                        SHA-256 over method, path, content type, `Setway-*` and `ce-*` headers and the body: what
 *                        decides about the message, not how the request travelled nor where it came from.
 */
import type { Hash } from 'node:crypto';
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { Problem } from '../shared/problem.ts';
import { fingerprintOf } from '../shared/publish/fingerprint.ts';
import type { PublishContext } from '../shared/publish/publisher.ts';
import { placeOfRequest } from '../shared/sets/place.ts';
import type { Coordinates } from '../shared/sets/place.ts';
import type { Visit } from './door.ts';
import type { Services } from './services.ts';

/** Longest `Prefer: wait`, in seconds: below the idle timeouts of common proxies. */
export const maxWaitSeconds = 10;

export interface Accepted {
  readonly visit: Visit;
  readonly key: ApiKey;
  /** Takes the body into the fingerprint of the request; called only when there is an idempotency key. */
  readonly addBody: (hash: Hash) => void;
}

/** @throws Problem `invalid-request`, `forbidden` */
export function publishContext(services: Pick<Services, 'platform'>, accepted: Accepted): PublishContext {
  const { visit, key } = accepted;
  const { request, traceparent } = visit;
  const place = placeOfRequest(
    { headers: request.headers, cf: (request as { readonly cf?: Coordinates }).cf },
    { platform: services.platform, clientPlace: key.maySetPlace ? 'allowed' : 'forbidden' },
  );
  const idempotency = idempotencyOf(accepted);
  return {
    owner: key.owner,
    waitMs: (preferredWait(request) ?? 0) * 1000,
    ...(place === undefined ? {} : { place }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(idempotency === undefined ? {} : { idempotency }),
  };
}

/** Says what became of the client's preference. */
export function appliedPreference(request: Request): Readonly<Record<string, string>> {
  const waitSeconds = preferredWait(request);
  return waitSeconds === undefined ? {} : { 'preference-applied': `wait=${waitSeconds}` };
}

/** Whole seconds of `wait`, clamped; undefined when it is not asked for. */
function preferredWait(request: Request): number | undefined {
  const header = request.headers.get('prefer');
  const seconds =
    header === null ? undefined : /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(header)?.[1];
  return seconds === undefined ? undefined : Math.min(Number(seconds), maxWaitSeconds);
}

function idempotencyOf({ visit, addBody }: Accepted): PublishContext['idempotency'] {
  const { request } = visit;
  const key = request.headers.get('idempotency-key');
  if (key === null) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new Problem('invalid-request', 'Idempotency-Key: 1 to 255 visible ASCII characters.', {
      faults: [{ at: 'Idempotency-Key', detail: '1 to 255 visible ASCII characters.' }],
    });
  }
  const { method, headers } = request;
  return { key, fingerprint: fingerprintOf({ method, path: visit.url().pathname, headers, addBody }) };
}
