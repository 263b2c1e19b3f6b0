/** What the OpenAPI document says about buckets, pins and their moves. */
import { z } from 'zod';
import { setName } from '../shared/message/draft-schema.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';

const bucket = z.int().min(0).max(16_383);
const span = { from: bucket, to: bucket };
const epoch = z.int().meta({ description: 'Grows each time the buckets change hands.' });

export const moveRequest = z
  .strictObject({
    from: bucket.meta({ description: 'The first bucket.' }),
    to: bucket.meta({ description: 'The last bucket.' }),
    set: setName.meta({ description: 'The SET that gets them.' }),
    giveUpAfterSeconds: z
      .int()
      .min(0)
      .max(86_400)
      .default(300)
      .meta({ description: 'How long to wait for what is still to be delivered; then they stay.' }),
  })
  .meta({ id: 'BucketMoveRequest' });

const moveSchema = z.object({
  ...span,
  source: setName,
  target: setName,
  epoch,
  state: z.string().meta({ description: 'draining, opening, aborting; in the end moved or aborted.' }),
  givesUpAt: z.iso.datetime(),
});

const shared = { tags: ['sets'], security: bearerSecurity };
const problems = ['unauthenticated', 'forbidden', 'internal', 'database-unavailable'] as const;

export const listRoutesDescription: Door['description'] = {
  ...shared,
  method: 'get',
  path: '/v1/routes',
  operationId: 'listRoutes',
  summary: 'List which SET has which buckets, pins, and what is on the move',
  responses: {
    200: described(
      'As this edge knows it.',
      z
        .object({
          version: z.int(),
          buckets: z.array(z.object({ ...span, set: setName, epoch })),
          moves: z.array(moveSchema),
          pins: z.array(z.object({ topic: z.string().optional(), key: z.string(), set: setName })),
        })
        .meta({ id: 'Routes' }),
    ),
    ...describedProblems(...problems),
  },
};

const moveAnswer = moveSchema
  .extend({
    lanesLeft: z.int().meta({ description: 'Lanes of which something is still to be delivered.' }),
    waitsFor: z.array(z.string()),
  })
  .meta({ id: 'BucketMove' });

export const moveRoutesDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/routes/moves',
  operationId: 'moveRoutes',
  summary: 'Move buckets, with their ordered lanes, to another SET',
  request: {
    body: {
      required: true,
      content: {
        'application/json': { schema: moveRequest, example: { from: 0, to: 1023, set: 'frankfurt' } },
      },
    },
  },
  responses: {
    200: described('It is over.', moveAnswer),
    202: described('It goes on: the same request again tells how far it is.', moveAnswer),
    ...describedProblems(
      ...problems,
      'invalid-json',
      'too-large',
      'unsupported-media-type',
      'invalid-request',
      'not-found',
      'conflict',
    ),
  },
};
