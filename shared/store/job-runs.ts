/** What each cron run did, kept at the center. */
import { answerOf, type Sql } from './database.ts';
import { instant, text } from './rows.ts';

export interface JobRun {
  readonly job: string;
  readonly beganAt: string;
  readonly durationMs: number;
  readonly handled: number;
  /** SETs where it failed, with the reason. */
  readonly failures: readonly { readonly set: string; readonly detail: string }[];
}

/** Runs kept of each job: hours of a job that runs every minute. */
const keptRuns = 200;
/** Runs shown of each job. */
const shownRuns = 10;

export async function writeJobRun(sql: Sql, run: JobRun): Promise<void> {
  await answerOf(sql`
    WITH written AS (
      INSERT INTO job_run (job, began_at, duration_ms, handled, failures)
      VALUES (${run.job}, ${run.beganAt}, ${run.durationMs}, ${run.handled}, ${JSON.stringify(run.failures)}::json)
    )
    DELETE FROM job_run WHERE job = ${run.job} AND id < (
      SELECT id FROM job_run WHERE job = ${run.job} ORDER BY id DESC OFFSET ${keptRuns - 1} LIMIT 1)`);
}

/** The last runs of these jobs, the newest first. */
export async function readJobRuns(sql: Sql, jobs: readonly string[]): Promise<readonly JobRun[]> {
  const rows = await answerOf(sql`
    SELECT r.* FROM unnest(${jobs}::text[]) AS j(name) CROSS JOIN LATERAL (
      SELECT * FROM job_run WHERE job = j.name ORDER BY id DESC LIMIT ${shownRuns}) AS r
    ORDER BY r.id DESC`);
  return rows.map((row) => ({
    job: text(row['job']),
    beganAt: instant(row['began_at']),
    durationMs: Number(row['duration_ms']),
    handled: Number(row['handled']),
    failures: row['failures'] as JobRun['failures'],
  }));
}
