/**
 * The edge on workerd, from `wrangler.toml`: bundled by wrangler as for a deployment, served by Miniflare.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
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

/** Names the folder of a bundle that many processes share: who finds none there builds it. */
export const bundleVariable = 'SETWAY_TEST_BUNDLE';

/** The part of `wrangler.toml` that a worker needs besides its bindings. */
interface Compatibility {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
}

interface Bundle extends Compatibility {
  readonly dir: string;
  /** To be called when the worker has read it. */
  discard(): Promise<void>;
}

/** Bundles the worker. @returns the folder that holds `worker.js`; remove it when done */
export async function buildWorker(): Promise<string> {
  const outDir = await mkdtemp(path.join(repoDir, '.setway-build-'));
  const wrangler = path.join(repoDir, 'node_modules', 'wrangler', 'bin', 'wrangler.js');
  const args = [wrangler, 'deploy', '--dry-run', '--outdir', outDir];
  await promisify(execFile)(process.execPath, args, { cwd: repoDir, env: { ...process.env, ...quiet } });
  return outDir;
}

async function openBundle(): Promise<Bundle> {
  const shared = process.env[bundleVariable];
  if (shared === undefined) {
    const dir = await buildWorker();
    return { dir, ...(await readCompatibility()), discard: () => rm(dir, { recursive: true }) };
  }
  const kept = path.join(shared, 'compatibility.json');
  if (!existsSync(kept)) {
    const built = await buildWorker();
    await writeFile(path.join(built, path.basename(kept)), JSON.stringify(await readCompatibility()));
    // Another process may have been faster: its bundle is the same.
    await rename(built, shared).catch(() => rm(built, { recursive: true }));
  }
  const compatibility = JSON.parse(await readFile(kept, 'utf8')) as Compatibility;
  return { dir: shared, ...compatibility, discard: async () => undefined };
}

async function readCompatibility(): Promise<Compatibility> {
  // Loaded here because it takes a second, which who finds a bundle does without.
  const { unstable_getMiniflareWorkerOptions } = await import('wrangler');
  const { workerOptions } = unstable_getMiniflareWorkerOptions(path.join(repoDir, 'wrangler.toml'));
  return {
    compatibilityDate: String(workerOptions['compatibilityDate']),
    compatibilityFlags: workerOptions['compatibilityFlags'] as string[],
  };
}

/** @example const worker = await startWorker({ port: 8700, settings }); await worker.stop(); */
export async function startWorker({
  port,
  settings,
  storageDir,
  log,
}: WorkerOptions): Promise<RunningWorker> {
  const bundle = await openBundle();
  Object.assign(process.env, quiet);
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
          scriptPath: path.join(bundle.dir, 'worker.js'),
          compatibilityDate: bundle.compatibilityDate,
          compatibilityFlags: bundle.compatibilityFlags,
          durableObjects: { SET_HOST: { className: 'SetObject', useSQLite: true } },
          bindings: { SETWAY_PLATFORM: 'cloudflare', ...settings },
        }),
      ),
  );
  const url = await readyUrl(miniflare, bundle);
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

async function readyUrl(miniflare: Miniflare, bundle: Bundle): Promise<URL> {
  try {
    return await miniflare.ready;
  } finally {
    await bundle.discard();
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
