/**
 * Around every cron function: run it for each SET, apart from the others, and report what it did. Every job is claim,
 * handle, finish on the agenda, so two runs at once, or a run beside a live host, do no harm.
 */
import type { CatalogSource } from '../shared/catalog/catalog.ts';
import type { KeptVersion } from '../shared/catalog/listening.ts';
import type { Clock } from '../shared/clock.ts';
import type { FleetParts } from '../shared/fleet/fleet.ts';
import type { MoveParts } from '../shared/fleet/move-buckets.ts';
import type { SetHost } from '../shared/host/set-host.ts';
import type { SqlRunner } from '../shared/idempotency/sql.ts';
import type { TakenOver } from '../shared/fleet/take-over.ts';
import { asProblem } from '../shared/problem.ts';
import type { Publisher } from '../shared/publish/publisher.ts';
import type { SetLink } from '../shared/sets/set-link.ts';
import type { Shelf } from '../shared/store/shelf.ts';
import type { Store, Retention } from '../shared/store/store.ts';
import type { Telemetry } from '../shared/telemetry.ts';
import type { WebhookUrlPolicy } from '../shared/webhook/address.ts';

/** What a cron function may ask of a SET's host: one that lives, or one opened for the purpose. */
export type HostAtWork = SetLink & Pick<SetHost, 'handleDue' | 'shift' | 'backlog'>;

export interface SetDatabases {
  readonly stores: readonly Store[];
  /** The copies it keeps of other SETs' messages, by shard. */
  readonly shelves: readonly Shelf[];
  /** Hosts that beat within the expiry. */
  liveHosts(): Promise<number>;
  /** Hosts have beaten, and none within the expiry. @throws Problem `database-unavailable` */
  areHostsDead(): Promise<boolean>;
  /** A take-over was begun and has not ended. */
  isTakenOverInPart(): Promise<boolean>;
  /** The catalog's last versions as this SET has kept them, the newest first. */
  keptVersions(): Promise<readonly KeptVersion[]>;
  /** Subscriptions this SET has stopped by itself. */
  stopped(): Promise<ReadonlySet<string>>;
}

export interface JobParts {
  readonly catalog: CatalogSource;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly retention: Retention;
  /** Lets `work` use a host of the SET; a host that was opened for it is stopped afterwards. */
  visit<T>(set: string, work: (host: HostAtWork) => Promise<T>): Promise<T>;
  databases(set: string): Promise<SetDatabases>;
  /** Publishes through whatever hosts there are, or hosts opened for it. */
  readonly publisher: Publisher;
  /** Where the callbacks of what an outbox holds may go. */
  readonly webhookPolicy: WebhookUrlPolicy;
  /** Runs single statements on a database of a user. */
  userDatabase(url: string): SqlRunner;
  /** Writes what the probe saw to every database that holds the catalog. */
  reportHealth(reports: readonly HealthReport[]): Promise<void>;
  /** Keeps what a run did where `/v1/jobs` finds it. Never rejects. */
  keepRun(report: JobReport): Promise<void>;
  /** The control plane, to see whether SETs are what they should be. */
  readonly fleet: FleetParts;
  /** For moves of buckets that were left. */
  readonly moves: MoveParts;
  /** Takes a SET over by its siblings. */
  takeOver(set: string): Promise<TakenOver>;
  /** Copies the center's catalog to the SETs. Returns how many copies were written. */
  spreadCatalog(): Promise<number>;
}

export interface HealthReport {
  readonly set: string;
  readonly health: 'up' | 'down';
  readonly detail: string;
  /** Messages a second; absent: nobody knows. */
  readonly rate?: number | undefined;
}

export interface Job {
  readonly name: string;
  /** @returns how many rows, SETs or partitions were handled */
  readonly run: (parts: JobParts) => Promise<JobResult>;
}

export interface JobResult {
  readonly handled: number;
  /** SETs where the job failed, with the reason; the others are done. */
  readonly failures: readonly { readonly set: string; readonly detail: string }[];
}

export interface JobReport extends JobResult {
  readonly job: string;
  readonly beganAt: string;
  readonly durationMs: number;
}

/** @throws nothing: what fails is in the report */
export async function runJob(job: Job, parts: JobParts): Promise<JobReport> {
  const beganMs = parts.clock.nowMs();
  const result = await job.run(parts).catch((error: unknown) => ({
    handled: 0,
    failures: [{ set: '*', detail: asProblem(error).message }],
  }));
  const durationMs = parts.clock.nowMs() - beganMs;
  const labels = { job: job.name };
  parts.telemetry.count('setway_job_runs_total', {
    ...labels,
    result: result.failures.length > 0 ? 'failed' : 'ok',
  });
  parts.telemetry.count('setway_job_handled_total', labels, result.handled);
  parts.telemetry.observe('setway_job_seconds', labels, durationMs / 1000);
  const report = { job: job.name, beganAt: new Date(beganMs).toISOString(), durationMs, ...result };
  await parts.keepRun(report);
  return report;
}

/** Runs `work` for every SET at once; one that fails does not stop the others. */
export async function forEachSet(
  parts: JobParts,
  work: (set: string) => Promise<number>,
): Promise<JobResult> {
  const { sets } = await parts.catalog.current();
  const ids = [...sets.keys()];
  const results = await Promise.allSettled(ids.map(work));
  return {
    handled: results.reduce((sum, result) => sum + (result.status === 'fulfilled' ? result.value : 0), 0),
    failures: results.flatMap((result, index) =>
      result.status === 'rejected'
        ? [{ set: ids[index] ?? '', detail: asProblem(result.reason).message }]
        : [],
    ),
  };
}
