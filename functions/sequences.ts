/** Sequences: messages delivered one after the other, stored all or none; and how far each subscription is with one. */
import type { Draft } from '../shared/message/message.ts';
import { readSequence } from '../shared/message/sequence-draft.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { Problem } from '../shared/problem.ts';
import { checkWebhookUrl } from '../shared/webhook/address.ts';
import { answerJson } from './answer.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import { refuseBadCallbacks } from './callbacks.ts';
import type { Door } from './door.ts';
import { appliedPreference } from './publish-context.ts';
import { takeQuota } from './publish-quota.ts';
import { readPublishRequest } from './publish-request.ts';
import { publishSequenceDescription, readSequenceDescription } from './sequences-description.ts';
import { refuseUnsigned } from './refuse-unsigned.ts';
import type { Services } from './services.ts';

export function sequenceDoors(services: Services): readonly Door[] {
  return [publishSequence(services), readOne(services)];
}

function publishSequence(services: Services): Door {
  return {
    description: publishSequenceDescription,
    async open(visit) {
      const { key, body, context } = await readPublishRequest(services, visit, services.limits.maxBulkBytes);
      const { idempotency } = context;
      const drafts = readSequence(readStrictJson(body), { nowMs: services.clock.nowMs(), idempotency });
      await refuseBadCallback(services, drafts[0], context.owner);
      refuseBadCallbacks(drafts, services.webhookPolicy);
      const quota = await takeQuota(services, key, drafts);
      const published = await services.publisher.publishTogether(drafts, context, {});
      const [first] = published;
      if (!first) throw new Problem('internal', 'A sequence got no result.');
      const session = drafts[0].order?.kind === 'sequence' ? drafts[0].order.session : '';
      const { state, set, route, duplicate } = first;
      const messages = published.map(({ id }, index) => ({ sequence: index + 1, id }));
      return answerJson(
        202,
        { session, size: messages.length, state, set, route, duplicate, messages },
        { location: `/v1/sequences/${session}`, ...appliedPreference(visit.request), ...quota },
      );
    },
  };
}

async function refuseBadCallback(services: Services, { topic, order }: Draft, owner: string): Promise<void> {
  const url = order?.kind === 'sequence' ? order.gapCallback : undefined;
  if (url === undefined) return;
  checkWebhookUrl(url, services.webhookPolicy);
  await refuseUnsigned(services, { field: 'gapCallback', topic, owner });
}

function readOne(services: Services): Door {
  return {
    description: readSequenceDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'read', services);
      const session = parameter('session');
      const { answers, incomplete } = await askFleet(services, (link) => link.sequence(owner, session));
      const found = answers.flatMap((answer) => answer ?? []);
      const [first] = found;
      if (first)
        // After a failover whose first answer was lost, two SETs have it: the one that is further speaks for it.
        return answerJson(200, found.toSorted((a, b) => decided(b) - decided(a))[0] ?? first);
      if (incomplete.length === 0) throw new Problem('not-found', `There is no sequence "${session}".`);
      throw new Problem('set-unavailable', 'A SET that may have this sequence does not answer.', {
        retryAfterSeconds: 2,
      });
    },
  };
}

function decided({
  subscriptions,
}: {
  readonly subscriptions: readonly { readonly arrived: number }[];
}): number {
  return subscriptions.reduce((sum, { arrived }) => sum + arrived, 0);
}
