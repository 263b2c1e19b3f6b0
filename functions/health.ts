/**
 * Is it alive, can it work, what does it do.
 *
 *   /health/live    200 as long as it answers at all; restart it when it does not
 *   /health/ready   200 when the catalog is readable and at least one SET can take messages, else 503
 *   /metrics        Prometheus text; it names SETs and subscriptions, so it needs a key with the scope `read` unless the
 *                   settings open it (for a scraper inside a private network)
 *
 * The first two are open and say nothing about whom they serve: probes have no keys.
 */
import { z } from 'zod';
import { asProblem, Problem } from '../shared/problem.ts';
import { renderPrometheus } from '../shared/telemetry.ts';
import type { Sample } from '../shared/telemetry.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { withinMs } from '../shared/deadline.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';
import type { Services } from './services.ts';

/** How long a probe waits for the catalog, and a scrape for one SET: below the usual timeouts of both. */
const patienceMs = 2_000;

export function healthDoors(services: Services): readonly Door[] {
  return [live, ready(services), metrics(services)];
}

const live: Door = {
  description: {
    method: 'get',
    path: '/health/live',
    operationId: 'live',
    summary: 'Is the edge alive',
    tags: ['health'],
    responses: { 200: described('It is.', z.object({ status: z.literal('live') })) },
  },
  open: async () => answerJson(200, { status: 'live' }),
};

function ready(services: Services): Door {
  return {
    description: {
      method: 'get',
      path: '/health/ready',
      operationId: 'ready',
      summary: 'Can the edge take messages',
      tags: ['health'],
      responses: {
        200: described('It can.', z.object({ status: z.literal('ready'), usableSets: z.int().min(1) })),
        ...describedProblems('set-unavailable'),
      },
    },
    async open() {
      const usableSets = await countUsableSets(services);
      if (usableSets === 0) throw notReady('No SET can take messages.');
      return answerJson(200, { status: 'ready', usableSets });
    },
  };
}

async function countUsableSets({ catalog, clock, isUsable }: Services): Promise<number> {
  try {
    const { table } = await withinMs(clock, patienceMs, catalog.current());
    return table.sets.filter(
      (set, position) => set.status === 'active' && table.health[position] !== 'down' && isUsable(set.id),
    ).length;
  } catch (error) {
    throw notReady('The catalog cannot be read.', error);
  }
}

function notReady(detail: string, cause?: unknown): Problem {
  return new Problem('set-unavailable', detail, {
    retryAfterSeconds: 5,
    ...(cause === undefined ? {} : { cause }),
  });
}

function metrics(services: Services): Door {
  return {
    description: {
      method: 'get',
      path: '/metrics',
      operationId: 'metrics',
      summary: 'Metrics of this edge and of every SET that answers in time',
      tags: ['health'],
      security: bearerSecurity,
      responses: {
        200: {
          description: 'Prometheus text format.',
          content: { 'text/plain; version=0.0.4': { schema: { type: 'string' } } },
        },
        ...describedProblems('unauthenticated', 'forbidden', 'internal'),
      },
    },
    async open({ request }) {
      if (services.metricsAccess === 'key') await authenticate(request, 'read', services);
      await noteSets(services);
      const own = services.telemetry.snapshot();
      const others = await samplesOfSets(services);
      // A host in this very process hands out the edge's own samples again: the same objects, counted once.
      const samples = new Set([...own, ...others.samples]);
      return {
        status: 200,
        contentType: 'text/plain; version=0.0.4; charset=utf-8',
        body: renderPrometheus([[...samples]]) + others.comments,
      };
    },
  };
}

/** As the catalog has it: a SET that is fenced cannot say so itself. */
async function noteSets({ catalog, telemetry }: Services): Promise<void> {
  const { table } = await catalog.current();
  for (const [position, { id, status }] of table.sets.entries()) {
    telemetry.set('setway_set_load', { set: id }, table.loads[position] ?? NaN);
    const ranges = status === 'fenced' ? table.ranges.filter(({ set }) => set === id) : [];
    const closed = ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
    telemetry.set('setway_closed_buckets', { set: id }, closed);
  }
}

/** A SET that does not answer must not take the others' metrics with it: it is named in a comment. */
async function samplesOfSets({
  catalog,
  clock,
  link,
}: Services): Promise<{ samples: readonly Sample[]; comments: string }> {
  const sets = [...(await catalog.current()).sets.keys()];
  const answers = await Promise.allSettled(
    sets.map(async (set) => withinMs(clock, patienceMs, link(set).status())),
  );
  const samples = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.metrics : []));
  const comments = answers.flatMap((answer, position) =>
    answer.status === 'rejected' ? [`# SET ${sets[position]}: ${asProblem(answer.reason).kind}\n`] : [],
  );
  return { samples, comments: comments.join('') };
}
