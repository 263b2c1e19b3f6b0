/** The worker: the edge's app, the cron table, and the classes Cloudflare looks for in the main module. */
import { runJob } from '../../scheduled/run-job.ts';
import { jobsOf } from '../../scheduled/schedule.ts';
import { createApp } from '../app.ts';
import { createJobParts, createServices } from '../assemble.ts';
import { linkTo } from './set-stub.ts';
import { print, worldOf, type Env } from './world.ts';

export { CourierEntrypoint } from './courier-entrypoint.ts';
export { SetObject } from './set-object.ts';

let app: ReturnType<typeof createApp> | undefined;

function appOf(env: Env): ReturnType<typeof createApp> {
  const world = worldOf(env);
  app ??= createApp(
    createServices(world, (set) => linkTo(env, world, set)),
    print,
  );
  return app;
}

export default {
  fetch: (request, env) => appOf(env).fetch(request),
  async scheduled({ cron }, env) {
    const world = worldOf(env);
    const parts = createJobParts(world, (set, work) => work(linkTo(env, world, set)));
    const reports = await Promise.all(jobsOf(cron).map((job) => runJob(job, parts)));
    reports.forEach(print);
  },
} satisfies ExportedHandler<Env>;
