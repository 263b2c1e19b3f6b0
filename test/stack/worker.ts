/**
 * The edge on workerd, from `wrangler.toml`: bundled by wrangler as for a deployment, served by Miniflare.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import { unstable_getMiniflareWorkerOptions } from 'wrangler';
import { repoDir } from './ports.ts';
import { processTree, signal, type ProcessEntry } from './process-tree.ts';

export interface WorkerOptions {
  /** 0 takes a free one. */
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  /** Where Durable Objects keep their storage; without it, it is forgotten. */
  readonly storageDir?: string;
  /** Takes what the worker prints, line by line; without it, it goes to the terminal. */
  readonly log?: (line: string) => void;
}

export interface RunningWorker {
  readonly url: string;
  /** workerd and what it started. */
  readonly processes: readonly ProcessEntry[];
  /** Runs the cron function of one expression. */
  runCron(cron: string): Promise<void>;
  /** SIGKILL for workerd: nothing is flushed. The next request finds it gone. */
  kill(): void;
  stop(): Promise<void>;
}

const quiet = { CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' };

/** Bundles the worker. @returns the folder that holds `worker.js`; remove it when done */
export async function buildWorker(): Promise<string> {
  const outDir = await mkdtemp(path.join(repoDir, '.setway-build-'));
  const wrangler = path.join(repoDir, 'node_modules', 'wrangler', 'bin', 'wrangler.js');
  const args = [wrangler, 'deploy', '--dry-run', '--outdir', outDir];
  await promisify(execFile)(process.execPath, args, { cwd: repoDir, env: { ...process.env, ...quiet } });
  return outDir;
}

/** @example const worker = await startWorker({ port: 8700, settings }); await worker.stop(); */
export async function startWorker({
  port,
  settings,
  storageDir,
  log,
}: WorkerOptions): Promise<RunningWorker> {
  const outDir = await buildWorker();
  Object.assign(process.env, quiet);
  const { workerOptions } = unstable_getMiniflareWorkerOptions(path.join(repoDir, 'wrangler.toml'));
  const before = new Set(processTree(process.pid).map(({ pid }) => pid));
  const miniflare = keepingSignals(
    () =>
      new Miniflare(
        convertV4MiniflareOptions({
          port,
          host: '127.0.0.1',
          cf: false,
          log: new Log(LogLevel.WARN),
          ...(log === undefined ? {} : { handleStructuredLogs: ({ message }) => log(message) }),
          ...(storageDir === undefined ? {} : { resourcePersistencePath: storageDir }),
          name: 'setway',
          modules: true,
          scriptPath: path.join(outDir, 'worker.js'),
          compatibilityDate: String(workerOptions['compatibilityDate']),
          compatibilityFlags: workerOptions['compatibilityFlags'] as string[],
          durableObjects: { SET_HOST: { className: 'SetObject', useSQLite: true } },
          bindings: { SETWAY_PLATFORM: 'cloudflare', ...settings },
        }),
      ),
  );
  const url = await readyUrl(miniflare, outDir);
  const workerd = processTree(process.pid).filter(({ pid }) => !before.has(pid));
  return {
    url: url.href.replace(/\/$/, ''),
    processes: workerd,
    async runCron(cron) {
      const fetcher = await miniflare.getWorker();
      await fetcher.scheduled({ cron });
    },
    kill() {
      for (const { pid } of workerd) signal(pid, 'SIGKILL');
    },
    stop: () => miniflare.dispose(),
  };
}

async function readyUrl(miniflare: Miniflare, outDir: string): Promise<URL> {
  try {
    return await miniflare.ready;
  } finally {
    await rm(outDir, { recursive: true });
  }
}

/** Miniflare ends the whole process on SIGINT, SIGTERM and SIGHUP; who started it decides what they mean. */
function keepingSignals<T>(work: () => T): T {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const before = names.map((name) => process.listeners(name));
  const result = work();
  names.forEach((name, index) => {
    for (const listener of process.listeners(name))
      if (!before[index]?.includes(listener)) process.off(name, listener);
  });
  return result;
}
