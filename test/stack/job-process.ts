/**
 * Cron functions without any host: what a platform with nothing long-lived runs. It lives in this process, but shares
 * nothing with a server: its own drivers, catalog and hosts, which it opens for a job and stops afterwards.
 */
import { createJobParts, createWorld, webhookPolicy } from '../../functions/assemble.ts';
import { createCourier } from '../../functions/courier.ts';
import { openDrivers } from '../../functions/node/drivers.ts';
import { createHostPool } from '../../functions/node/host-pool.ts';
import { createWebhookAgent } from '../../functions/node/webhook-request.ts';
import { webhookFunctions } from '../../functions/webhooks/functions.ts';
import { runJob, type Job, type JobParts, type JobReport } from '../../scheduled/run-job.ts';
import { systemClock } from '../../shared/clock.ts';
import { readSettings } from '../../shared/settings.ts';

export interface JobProcess {
  readonly parts: JobParts;
  /** Runs jobs side by side; a job given twice runs twice at once. */
  run(...jobs: readonly Job[]): Promise<readonly JobReport[]>;
  close(): Promise<void>;
}

/** @example const jobs = openJobProcess(settings); await jobs.run(redeliver, redeliver); await jobs.close(); */
export function openJobProcess(environment: Readonly<Record<string, string>>): JobProcess {
  const settings = readSettings({ ...environment, SETWAY_HOSTED_SETS: 'none' });
  const drivers = openDrivers(settings);
  const world = createWorld(settings, {
    redis: drivers.redis,
    inBackground: (work) => void work,
    log: () => undefined,
  });
  const policy = webhookPolicy(settings);
  const agent = createWebhookAgent({ clock: systemClock }, { policy });
  const functions = webhookFunctions({ ...world, databaseUrl: settings.SETWAY_WEBHOOK_DATABASE });
  const { deliveryIds } = world;
  const sending = { functions, post: agent.post, policy, deliveryIds };
  const courier = createCourier({ ...sending, clock: systemClock, sliceSize: 1 });
  const pool = createHostPool(world, courier);
  const parts = createJobParts(world, (set, work) => pool.visit(set, work));
  return {
    parts,
    run: (...jobs) => Promise.all(jobs.map((job) => runJob(job, parts))),
    async close() {
      await pool.stop();
      await agent.close();
      await drivers.close();
    },
  };
}
