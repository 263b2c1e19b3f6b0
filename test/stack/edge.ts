/** The edge of a local deployment: on workerd, as it is deployed, or in one Node process; crons included. */
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { startServer } from '../../functions/node/server.ts';
import { schedule } from '../../scheduled/schedule.ts';
import { readSettings } from '../../shared/settings.ts';
import type { StackAddresses } from './addresses.ts';
import { bridgeSettings, directSettings, type Deployment } from './deployment.ts';
import { writePidFile } from './server-process.ts';
import type { RunningWorker } from './worker.ts';

export type Platform = 'workerd' | 'node';

export interface EdgePlace {
  readonly deployment: Deployment;
  readonly addresses: StackAddresses;
  readonly port: number;
  /** The stack's folder, where workerd keeps what Durable Objects store. */
  readonly dir: string;
  readonly logFile: string;
}

export interface Edge {
  readonly url: string;
  stop(): Promise<void>;
}

/** @example const edge = await serveEdge('workerd', place); await edge.stop(); */
export function serveEdge(platform: Platform, place: EdgePlace): Promise<Edge> {
  return platform === 'workerd' ? serveOnWorkerd(place) : serveOnNode(place);
}

async function serveOnNode({ deployment, addresses, port, logFile }: EdgePlace): Promise<Edge> {
  const settings = { ...deployment.settings, ...directSettings(addresses), SETWAY_PORT: String(port) };
  const log = openLog(logFile);
  const server = await startServer(readSettings(settings), (entry) => log.write(JSON.stringify(entry)));
  const stop = async (): Promise<void> => {
    await server.stop();
    log.close();
  };
  return { url: server.url, stop };
}

async function serveOnWorkerd({ deployment, addresses, port, dir, logFile }: EdgePlace): Promise<Edge> {
  const log = openLog(logFile);
  // Loaded here because wrangler takes a second, and the Node way does without.
  const { startWorker } = await import('./worker.ts');
  const worker = await startWorker({
    port,
    settings: { ...deployment.settings, ...bridgeSettings(addresses) },
    storageDir: path.join(dir, 'workerd'),
    log: (line) => log.write(line),
  });
  // workerd outlives a process that was killed; the next start then finds it and ends it.
  const [workerd] = worker.processes;
  if (workerd) writePidFile({ dir, name: 'workerd', stopSignal: 'SIGKILL' }, workerd);
  const report = (error: unknown): void => log.write(`cron: ${String(error)}`);
  const stopCron = await runCronTable(worker, report);
  const stop = async (): Promise<void> => {
    stopCron();
    await worker.stop();
    log.close();
  };
  return { url: worker.url, stop };
}

/**
 * Runs every entry of the cron table now, which wakes the SET hosts and repairs what an earlier run left, then each at
 * its interval.
 */
async function runCronTable(worker: RunningWorker, report: (error: unknown) => void): Promise<() => void> {
  const run = (cron: string): Promise<void> => worker.runCron(cron).catch(report);
  await Promise.all(schedule.map(({ cron }) => run(cron)));
  const timers = schedule.map(({ cron, everyMs }) => setInterval(() => void run(cron), everyMs));
  return () => timers.forEach((timer) => clearInterval(timer));
}

function openLog(file: string): { write(line: string): void; close(): void } {
  const stream = createWriteStream(file, { flags: 'a' });
  return {
    write: (line) => void stream.write(line.endsWith('\n') ? line : `${line}\n`),
    close: () => void stream.end(),
  };
}
