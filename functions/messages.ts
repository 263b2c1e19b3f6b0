/** Messages: publish one as JSON, publish one as it is, look one up. */
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { parseMessageId } from '../shared/identifier.ts';
import { cloudEventMode, readBinaryEvent, readStructuredEvent } from '../shared/message/cloud-event.ts';
import { readDraft, readRawDraft } from '../shared/message/draft.ts';
import type { Draft } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { Problem } from '../shared/problem.ts';
import type { PublishContext } from '../shared/publish/publisher.ts';
import { answerJson } from './answer.ts';
import type { Answer } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { refuseBadCallbacks } from './callbacks.ts';
import type { Door, Visit } from './door.ts';
import { findMessage } from './find-message.ts';
import {
  publishJsonDescription,
  publishRawDescription,
  readMessageDescription,
} from './messages-description.ts';
import { appliedPreference, publishContext } from './publish-context.ts';
import { takeQuota } from './publish-quota.ts';
import { readPublishRequest } from './publish-request.ts';
import { readBody, refuseEncodedBody, requireUtf8 } from './request-body.ts';
import type { Services } from './services.ts';

export function messageDoors(services: Services): readonly Door[] {
  return [publishJson(services), publishRaw(services), readMessage(services)];
}

function publishJson(services: Services): Door {
  return {
    description: publishJsonDescription,
    async open(visit) {
      const { key, body, context } = await readPublishRequest(services, visit, services.limits.maxBodyBytes);
      const draft = readDraft(readStrictJson(body), services.clock.nowMs());
      return publish(services, visit.request, { key, context, draft });
    },
  };
}

function publishRaw(services: Services): Door {
  return {
    description: publishRawDescription,
    async open(visit) {
      const { request } = visit;
      const key = await authenticate(request, 'publish', services);
      refuseEncodedBody(request);
      const body = await readBody(request, services.limits.maxBodyBytes);
      const context = publishContext(services, { visit, key, addBody: (hash) => void hash.update(body) });
      const draft = draftOfRaw(visit, body, services.clock.nowMs());
      return publish(services, request, { key, context, draft });
    },
  };
}

function readMessage(services: Services): Door {
  return {
    description: readMessageDescription,
    async open({ request, parameter }) {
      const key = await authenticate(request, 'read', services);
      const id = parseMessageId(parameter('id'));
      const record = await findMessage(id, services);
      // Somebody else's message is told apart from none by nothing.
      if (record?.owner !== key.owner) throw new Problem('not-found', `There is no message ${id}.`);
      const { owner: _, ...shown } = record;
      return answerJson(200, shown);
    },
  };
}

function draftOfRaw({ request, parameter }: Visit, body: Uint8Array, nowMs: number): Draft {
  const raw = { topic: parameter('topic'), headers: request.headers, body };
  switch (cloudEventMode(request.headers)) {
    case 'binary':
      return readBinaryEvent(raw, nowMs);
    case 'structured': {
      const [type, ...parameters] = (request.headers.get('content-type') ?? '').toLowerCase().split(';');
      if (type?.trim() !== 'application/cloudevents+json')
        throw new Problem('unsupported-media-type', noOtherEvents);
      requireUtf8(parameters);
      return readStructuredEvent(raw, nowMs);
    }
    case 'batch':
      throw new Problem('unsupported-media-type', noOtherEvents);
    case undefined:
      return readRawDraft(raw, nowMs);
  }
}

const noOtherEvents = 'CloudEvents come in binary mode or as application/cloudevents+json, one at a time.';

interface Wish {
  readonly key: ApiKey;
  readonly context: PublishContext;
  readonly draft: Draft;
}

async function publish(services: Services, request: Request, { key, context, draft }: Wish): Promise<Answer> {
  refuseBadCallbacks([draft], services.webhookPolicy);
  const quota = await takeQuota(services, key, [draft]);
  const { id, state, set, route, duplicate } = await services.publisher.publish(draft, context);
  return answerJson(
    202,
    { id, state, set, route, duplicate },
    { location: `/v1/messages/${id}`, ...appliedPreference(request), ...quota },
  );
}
