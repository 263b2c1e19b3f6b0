/** Runs the cron table by timers, for a process that has no platform to do it. */
import { runJob, type JobParts, type JobReport } from '../../scheduled/run-job.ts';
import { schedule } from '../../scheduled/schedule.ts';
import { systemClock } from '../../shared/clock.ts';

/** Soon, because a process that is restarted every day would never come to what is done once a day. */
const firstTurnMs = 10_000;

export interface Cron {
  /** Begins no more runs; resolves when those under way have ended. */
  stop(): Promise<void>;
}

/** @param report takes what each run did */
export function startCron(parts: JobParts, report: (report: JobReport) => void): Cron {
  let isStopped = false;
  const underWay = new Set<Promise<void>>();
  const cancels = schedule.map(({ everyMs, jobs }) => {
    let cancel = (): void => undefined;
    const turn = async (): Promise<void> => {
      const reports = await Promise.all(jobs.map((job) => runJob(job, parts)));
      reports.forEach(report);
      wait();
    };
    const begin = (): void => {
      const run = turn().finally(() => underWay.delete(run));
      underWay.add(run);
    };
    const wait = (afterMs = everyMs): void => {
      if (!isStopped) cancel = systemClock.after(afterMs, begin);
    };
    wait(firstTurnMs);
    return () => cancel();
  });
  return {
    async stop() {
      isStopped = true;
      for (const cancel of cancels) cancel();
      await Promise.all(underWay);
    },
  };
}
