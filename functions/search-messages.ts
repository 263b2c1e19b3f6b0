/**
 * `GET /v1/messages`: an owner's messages over all SETs, newest first; `state=scheduled` alone lists them as they fall due.
 *
 * Every SET answers a page of its own; the pages are merged and cut. The cursor is the place of the last message shown,
 * which means the same in every SET. A SET that does not answer is named in `incomplete`: ask again later for its part.
 */
import { z } from 'zod';
import type { Catalog } from '../shared/catalog/catalog.ts';
import type { MessageId } from '../shared/identifier.ts';
import { parseInstantMs } from '../shared/instant.ts';
import { messageKey, topicName } from '../shared/message/draft-schema.ts';
import { dueFirst, newestFirst } from '../shared/sets/search.ts';
import type { Belongings, FoundMessage, MessageFilter, Position } from '../shared/sets/search.ts';
import { answerJson } from './answer.ts';
import { deliveryState, foundMessagesSchema, messageId, messageState } from './answer-schemas.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import { readCursor, writeCursor } from './cursor.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { readQuery } from './query-parameters.ts';
import { cursorText, errorText, pageLimit, subscriptionName, times } from './search-parameters.ts';
import type { Services } from './services.ts';

const upper = (text: unknown): unknown => (typeof text === 'string' ? text.toUpperCase() : text);
const querySchema = z.strictObject({
  topic: topicName.optional(),
  key: messageKey.optional(),
  lane: z.string().min(1).max(255).optional(),
  session: z.string().min(1).max(255).optional(),
  state: z.preprocess(upper, messageState.optional()),
  subscription: subscriptionName.optional(),
  deliveryState: z.preprocess(upper, deliveryState.optional()),
  ...times,
  error: errorText.optional(),
  limit: pageLimit.optional(),
  cursor: cursorText.optional(),
});
type Query = z.infer<typeof querySchema>;

const positionSchema = z.strictObject({
  at: z.string().regex(/^\d{1,17}$/),
  id: messageId.transform((id) => id as MessageId),
});

export const defaultLimit = 50;

export function searchDoors(services: Services): readonly Door[] {
  return [
    {
      description,
      async open({ request, url }) {
        const { owner } = await authenticate(request, 'read', services);
        const { cursor, limit: limitText, ...asked } = readQuery(url().searchParams, querySchema);
        const limit = Number(limitText ?? defaultLimit);
        const after = cursor === undefined ? {} : { after: positionOf(cursor, asked) };
        const of = belongingsOf(await services.catalog.current(), owner);
        const search = { of, filter: filterOf(asked), limit: limit + 1, ...after };
        const byDue = isDueList(search.filter);
        const { answers, incomplete } = await askFleet(services, (link) =>
          byDue ? link.scheduled({ owner, limit: limit + 1, ...after }) : link.search(search),
        );
        const found = once(answers.flat().toSorted(byDue ? dueFirst : newestFirst));
        const page = found.slice(0, limit);
        const last = found.length > limit ? page.at(-1) : undefined;
        const next = last === undefined ? {} : { next: cursorAfter(last, asked) };
        return answerJson(200, { messages: page.map(shown), ...next, incomplete });
      },
    },
  ];
}

/** What waits for its time, and nothing else asked: then the next to fall due comes first. */
function isDueList(filter: MessageFilter): boolean {
  return filter.state === 'SCHEDULED' && Object.keys(filter).length === 1;
}

/** What the catalog says the owner has. */
export function belongingsOf({ topics, subscriptions }: Catalog, owner: string): Belongings {
  const own = (each: { readonly name: string; readonly owner: string }) =>
    each.owner === owner ? [each.name] : [];
  return {
    owner,
    topics: [...topics.values()].flatMap(own),
    subscriptions: [...subscriptions.values()].flatMap(own),
  };
}

function filterOf({ from, to, ...rest }: Omit<Query, 'cursor' | 'limit'>): MessageFilter {
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return {
    ...given,
    ...(from === undefined ? {} : { fromMs: parseInstantMs(from, 'from') }),
    ...(to === undefined ? {} : { toMs: parseInstantMs(to, 'to') }),
  };
}

/** A message that two SETs took under one id, at a failover, is one message: the first shown speaks for it. */
function once(found: readonly FoundMessage[]): readonly FoundMessage[] {
  const seen = new Set<MessageId>();
  return found.filter(({ id }) => !seen.has(id) && seen.add(id));
}

function shown(found: FoundMessage): Omit<FoundMessage, 'position'> {
  const { position: _, ...message } = found;
  return message;
}

function positionOf(cursor: string, asked: object): Position {
  const { at, id } = readCursor(cursor, asked, positionSchema);
  return { atMicros: at, id };
}

function cursorAfter({ position: { atMicros: at, id } }: FoundMessage, asked: object): string {
  return writeCursor(asked, { at, id });
}

const description: Door['description'] = {
  method: 'get',
  path: '/v1/messages',
  operationId: 'searchMessages',
  summary: 'Search messages, newest first',
  description:
    'All filters given must hold. With `state=scheduled` alone the next to fall due comes first. Messages are found in every SET; one that does not answer is named in `incomplete`.',
  tags: ['messages'],
  security: bearerSecurity,
  request: { query: querySchema },
  responses: {
    200: described('A page; `next` is there when there is more.', foundMessagesSchema),
    ...describedProblems('unauthenticated', 'forbidden', 'invalid-request', 'uri-too-long', 'internal'),
  },
};
