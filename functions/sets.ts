/** SETs as clients may see them, and why a message would go where. No URLs, no secrets. */
import { z } from 'zod';
import type { Catalog } from '../shared/catalog/catalog.ts';
import { messageKey, routeFallback, setName, topicName } from '../shared/message/draft-schema.ts';
import { didYouMean } from '../shared/nearest-name.ts';
import { Problem } from '../shared/problem.ts';
import { parsePlaceText, placeOfRequest } from '../shared/sets/place.ts';
import type { Coordinates } from '../shared/sets/place.ts';
import { explain } from '../shared/sets/explain.ts';
import type { Topic } from '../shared/subscriptions/subscription.ts';
import { answerJson } from './answer.ts';
import { explanationSchema, setListSchema } from './answer-schemas.ts';
import { authenticate } from './authenticate.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { readQuery } from './query-parameters.ts';
import type { Services } from './services.ts';

export function setDoors(services: Services): readonly Door[] {
  return [listSets(services), explainRoute(services)];
}

function listSets(services: Services): Door {
  return {
    description: listDescription,
    async open({ request }) {
      await authenticate(request, 'read', services);
      const { table } = await services.catalog.current();
      const sets = table.sets.map(({ id, number, kind, place, weight, status, share }, position) => ({
        id,
        number,
        kind,
        place,
        weight,
        status,
        health: table.health[position] ?? 'unknown',
        breaker: services.isUsable(id) ? 'closed' : 'open',
        load: table.loads[position],
        share,
      }));
      return answerJson(200, { version: table.version, sets });
    },
  };
}

function explainRoute(services: Services): Door {
  return {
    description: routeDescription,
    async open({ request, url }) {
      const key = await authenticate(request, 'read', services);
      const question = readQuery(url().searchParams, questionSchema);
      const catalog = await services.catalog.current();
      const topic = findTopic(catalog, question.topic, key.owner);
      const place =
        parsePlaceText(question.latitude, question.longitude) ??
        placeOfRequest(
          { headers: request.headers, cf: (request as { readonly cf?: Coordinates }).cf },
          { platform: services.platform, clientPlace: key.maySetPlace ? 'allowed' : 'forbidden' },
        );
      const { set, fallback = 'prefer' } = question;
      const choice = set === undefined ? undefined : { set, fallback };
      return answerJson(
        200,
        explain({ topic, key: question.key, choice, place }, catalog.table, services.isUsable),
      );
    },
  };
}

const questionSchema = z.strictObject({
  topic: topicName,
  key: messageKey.optional(),
  set: setName.optional(),
  fallback: routeFallback.optional(),
  latitude: z.string().optional().meta({ description: 'Degrees, −90 to 90.', example: '30.25' }),
  longitude: z.string().optional().meta({ description: 'Degrees, −180 to 180.', example: '120.17' }),
});

/** The topics of others do not exist. */
function findTopic(catalog: Catalog, name: string, owner: string): Topic {
  const topic = catalog.topics.get(name);
  if (topic?.owner === owner) return topic;
  const own = [...catalog.topics.values()]
    .filter((other) => other.owner === owner)
    .map((other) => other.name);
  throw new Problem('not-found', `There is no topic "${name}".${didYouMean(name, own)}`);
}

const readProblems = ['unauthenticated', 'forbidden', 'internal', 'database-unavailable'] as const;

const listDescription: Door['description'] = {
  method: 'get',
  path: '/v1/sets',
  operationId: 'listSets',
  summary: 'List the SETs with their health',
  tags: ['sets'],
  security: bearerSecurity,
  responses: { 200: described('All SETs, by number.', setListSchema), ...describedProblems(...readProblems) },
};

const routeDescription: Door['description'] = {
  method: 'get',
  path: '/v1/sets/route',
  operationId: 'explainRoute',
  summary: 'Explain where a message would go, and why',
  tags: ['sets'],
  security: bearerSecurity,
  request: { query: questionSchema },
  responses: {
    200: described('The decision.', explanationSchema),
    ...describedProblems(...readProblems, 'not-found', 'invalid-request', 'set-unavailable'),
  },
};
