/** Pieces of the OpenAPI descriptions that many doors share. */
import type { RouteConfig } from '@hono/zod-openapi';
import { z } from 'zod';
import type { ProblemKind } from '../shared/problem.ts';
import { problemKinds } from '../shared/problem.ts';
import { problemSchema } from './answer-schemas.ts';

type Responses = RouteConfig['responses'];

export const bearerSecurity = [{ apiKey: [] }];

const requestId = {
  'X-Request-Id': {
    description: 'Names this request in the log; the trace id of its traceparent, if it has one.',
    schema: { type: 'string' as const },
  },
};

/** One answer that went well. */
export function described(
  description: string,
  schema: z.ZodType,
  more: { readonly example?: unknown; readonly headers?: Readonly<Record<string, string>> } = {},
) {
  const headers = Object.entries(more.headers ?? {}).map(([name, text]) => [
    name,
    { description: text, schema: { type: 'string' as const } },
  ]);
  const example = more.example === undefined ? {} : { example: more.example };
  return {
    description,
    headers: { ...requestId, ...(Object.fromEntries(headers) as typeof requestId) },
    content: { 'application/json': { schema, ...example } },
  };
}

/** The problems a door may answer, by status; kinds of one status share an entry. */
export function describedProblems(...kinds: readonly ProblemKind[]): Responses {
  const byStatus = Map.groupBy(kinds, (kind) => problemKinds[kind].status);
  return Object.fromEntries(
    [...byStatus].map(([status, same]) => [
      status,
      {
        description: same.map((kind) => `\`${kind}\`: ${problemKinds[kind].title}.`).join(' '),
        headers: { ...requestId, ...extraHeaders(status) },
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  );
}

function extraHeaders(status: number) {
  const text = (description: string) => ({ description, schema: { type: 'string' as const } });
  switch (status) {
    case 401:
      return { 'WWW-Authenticate': text('How to authenticate (RFC 6750).') };
    case 429:
      return {
        'Retry-After': text('Whole seconds after which a retry makes sense.'),
        'RateLimit-Policy': text(
          'The limits of the key and of the topics, as on every answer of a limited publish.',
        ),
        RateLimit: text('What is left of each.'),
      };
    case 409:
    case 503:
      return { 'Retry-After': text('Whole seconds after which a retry makes sense.') };
    default:
      return {};
  }
}
