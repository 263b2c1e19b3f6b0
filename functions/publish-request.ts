/** The beginning of every door that takes messages as JSON: who sends what, and how. */
import type { ApiKey } from '../shared/catalog/api-key.ts';
import type { PublishContext } from '../shared/publish/publisher.ts';
import { authenticate } from './authenticate.ts';
import type { Visit } from './door.ts';
import { publishContext } from './publish-context.ts';
import { readBody, refuseEncodedBody, requireJsonType } from './request-body.ts';
import type { Services } from './services.ts';

export interface PublishRequest {
  readonly key: ApiKey;
  readonly body: Uint8Array;
  readonly context: PublishContext;
}

/**
 * The body is read after the key was checked, and not parsed.
 * @throws Problem `unauthorized`, `forbidden`, `unsupported-media-type`, `too-large`, `invalid-request`
 */
export async function readPublishRequest(
  services: Services,
  visit: Visit,
  maxBytes: number,
): Promise<PublishRequest> {
  const { request } = visit;
  const key = await authenticate(request, 'publish', services);
  refuseEncodedBody(request);
  requireJsonType(request);
  const body = await readBody(request, maxBytes);
  const context = publishContext(services, { visit, key, addBody: (hash) => void hash.update(body) });
  return { key, body, context };
}
