/** Batches: many items that are one message, stored all or none, delivered in one webhook call. */
import { maxBatchMembers, readBatch } from '../shared/message/batch-draft.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { batchDescription } from './batches-description.ts';
import type { Door } from './door.ts';
import { appliedPreference, publishContext } from './publish-context.ts';
import { readBody, refuseEncodedBody, requireJsonType } from './request-body.ts';
import type { Services } from './services.ts';

export function batchDoors(services: Services): readonly Door[] {
  return [publishBatch(services)];
}

function publishBatch(services: Services): Door {
  return {
    description: batchDescription,
    async open(visit) {
      const { request } = visit;
      const { limits, clock } = services;
      const key = await authenticate(request, 'publish', services);
      refuseEncodedBody(request);
      requireJsonType(request);
      const body = await readBody(request, limits.maxBulkBytes);
      const context = publishContext(services, { visit, key, addBody: (hash) => void hash.update(body) });
      const reading = {
        nowMs: clock.nowMs(),
        maxBodyBytes: limits.maxBodyBytes,
        idempotency: context.idempotency,
      };
      const draft = readBatch(readStrictJson(body, maxBatchMembers), reading);
      const { id, state, set, route, duplicate } = await services.publisher.publish(draft, context);
      return answerJson(
        202,
        { id, ...draft.batch, state, set, route, duplicate },
        { location: `/v1/messages/${id}`, ...appliedPreference(request) },
      );
    },
  };
}
