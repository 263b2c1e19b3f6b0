/** What describes the API itself: the OpenAPI document and the kinds of problems. Open to everybody. */
import { z } from 'zod';
import { Problem } from '../shared/problem.ts';
import { answerJson } from './answer.ts';
import type { Answer } from './answer.ts';
import { described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import { describeProblem } from './problem-response.ts';

/** @param others every other door; these two describe themselves too */
export function referenceDoors(others: readonly Door[]): readonly Door[] {
  const doors: readonly Door[] = [openApi(() => [...others, ...doors]), problemKind];
  return doors;
}

/** The document is built at the first request, and its library is loaded only then: publishing needs neither. */
function openApi(all: () => readonly Door[]): Door {
  let answer: Promise<Answer> | undefined;
  const build = async (): Promise<Answer> => {
    const { buildOpenApi } = await import('./openapi.ts');
    return answerJson(200, buildOpenApi(all().map((door) => door.description)));
  };
  return {
    description: {
      method: 'get',
      path: '/openapi.json',
      operationId: 'openApi',
      summary: 'This document',
      tags: ['reference'],
      responses: { 200: described('OpenAPI 3.1.', z.looseObject({ openapi: z.string() })) },
    },
    open: async () => (answer ??= build()),
  };
}

const problemKind: Door = {
  description: {
    method: 'get',
    path: '/problems/{kind}',
    operationId: 'problemKind',
    summary: 'What a type of problem means',
    tags: ['reference'],
    request: { params: z.object({ kind: z.string().meta({ example: 'invalid-request' }) }) },
    responses: {
      200: described(
        'The kind.',
        z.object({ type: z.string(), title: z.string(), status: z.int(), retryable: z.boolean() }),
      ),
      ...describedProblems('not-found'),
    },
  },
  async open({ parameter }) {
    const found = describeProblem(parameter('kind'));
    if (!found) throw new Problem('not-found', 'There is no such kind of problem.');
    return answerJson(200, found);
  },
};
