/**
 * A work queue: several workers share the messages of one group, and the able do more (能者多劳). Each worker has one
 * message at a time, so a fast one takes the next while a slow one is still busy.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { createRedisGuard } from '../../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../../shared/idempotency/upstash.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';

const jobs = 40;
/** How long a worker takes for one job, in milliseconds. */
const workers = { fast: 10, slow: 200 } as const;
const deadlineMs = 30_000;

export const workQueue: Example = {
  name: 'work-queue',
  shows: 'workers share one queue, and the able do more',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'jobs', owner: 'demo' }],
    subscriptions: [
      {
        name: 'workers',
        owner: 'demo',
        topic: 'jobs',
        endpoint: { url: `${hooksUrl}/fast` },
        members: [{ url: `${hooksUrl}/slow` }],
        concurrency: 2,
        secrets: [secret],
      },
    ],
  }),
  async play(stage) {
    const { say, check, client } = stage;
    const done = { fast: new Set<number>(), slow: new Set<number>() };
    for (const name of ['fast', 'slow'] as const) stage.hook(name, worker(stage, name, done[name]));
    const messages = Array.from({ length: jobs }, (_, job) => ({ topic: 'jobs', body: { job } }));
    const answer = await client.post('/v1/messages/bulk', JSON.stringify(messages), {
      'content-type': 'application/json',
    });
    if (answer.status !== 202) throw new Error(`Not accepted: ${answer.status}`);
    say(`${jobs} jobs wait for two workers: one takes ${workers.fast} ms, the other ${workers.slow} ms`);
    await until(deadlineMs, async () => done.fast.size + done.slow.size >= jobs);
    say(`the fast one did ${done.fast.size}, the slow one ${done.slow.size}`);
    check(
      'every job was done, by one of them',
      [...done.fast].every((job) => !done.slow.has(job)),
    );
    check('the fast one did more', done.fast.size > done.slow.size);
    check('the slow one was not left out', done.slow.size > 0);
  },
};

function worker(
  { secret, redis }: Stage,
  name: keyof typeof workers,
  done: Set<number>,
): (request: Request) => Promise<Response> {
  const guard = createRedisGuard(connectRedis(redis));
  return webhookHandler({ secrets: [secret], subscription: 'workers', guard }, async (message) => {
    await sleep(workers[name]);
    done.add((message.json() as { readonly job: number }).job);
  });
}
