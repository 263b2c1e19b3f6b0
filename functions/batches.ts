/** Batches: many items that are one message, stored all or none, delivered in one webhook call. */
import { maxBatchMembers, readBatch } from '../shared/message/batch-draft.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { answerJson } from './answer.ts';
import { batchDescription } from './batches-description.ts';
import { refuseBadCallbacks } from './callbacks.ts';
import type { Door } from './door.ts';
import { appliedPreference } from './publish-context.ts';
import { takeQuota } from './publish-quota.ts';
import { readPublishRequest } from './publish-request.ts';
import type { Services } from './services.ts';

export function batchDoors(services: Services): readonly Door[] {
  return [publishBatch(services)];
}

function publishBatch(services: Services): Door {
  return {
    description: batchDescription,
    async open(visit) {
      const { limits, clock } = services;
      const { key, body, context } = await readPublishRequest(services, visit, limits.maxBulkBytes);
      const reading = {
        nowMs: clock.nowMs(),
        maxBodyBytes: limits.maxBodyBytes,
        idempotency: context.idempotency,
      };
      const draft = readBatch(readStrictJson(body, maxBatchMembers), reading);
      refuseBadCallbacks([draft], services.webhookPolicy);
      const quota = await takeQuota(services, key, [draft]);
      const { id, state, set, route, duplicate } = await services.publisher.publish(draft, context);
      return answerJson(
        202,
        { id, ...draft.batch, state, set, route, duplicate },
        { location: `/v1/messages/${id}`, ...appliedPreference(visit.request), ...quota },
      );
    },
  };
}
