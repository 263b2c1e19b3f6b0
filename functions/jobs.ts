/** The cron table, and what the last runs did. */
import { z } from 'zod';
import { schedule } from '../scheduled/schedule.ts';
import { setName } from '../shared/message/draft-schema.ts';
import type { JobRun } from '../shared/store/job-runs.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import type { Services } from './services.ts';

export function jobDoors(services: Services): readonly Door[] {
  return [
    {
      description,
      async open({ request }) {
        await authenticate(request, 'manage', services);
        const entries = schedule.flatMap(({ cron, jobs }) => jobs.map(({ name }) => ({ name, cron })));
        const runs = await services.jobRuns(entries.map(({ name }) => name));
        const jobs = entries.map(({ name, cron }) => ({
          name,
          cron,
          lastRuns: runs.filter(({ job }) => job === name).map(withoutName),
        }));
        return answerJson(200, { jobs });
      },
    },
  ];
}

function withoutName(kept: JobRun): Omit<JobRun, 'job'> {
  const { job: _, ...shown } = kept;
  return shown;
}

const run = z.object({
  beganAt: z.iso.datetime(),
  durationMs: z.number(),
  handled: z.int().meta({ description: 'Rows, SETs or partitions.' }),
  failures: z.array(z.object({ set: setName, detail: z.string() })),
});

const description: Door['description'] = {
  method: 'get',
  path: '/v1/jobs',
  operationId: 'listJobs',
  summary: 'List the cron functions, when they run and what they did',
  tags: ['health'],
  security: bearerSecurity,
  responses: {
    200: described(
      'The cron table, with the last ten runs of each job.',
      z
        .object({
          jobs: z.array(
            z.object({
              name: z.string().meta({ example: 'audit' }),
              cron: z.string().meta({ description: 'Five fields, UTC.', example: '* * * * *' }),
              lastRuns: z.array(run),
            }),
          ),
        })
        .meta({ id: 'Jobs' }),
    ),
    ...describedProblems('unauthenticated', 'forbidden', 'internal', 'database-unavailable'),
  },
};
