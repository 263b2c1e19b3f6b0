/**
 * The platforms the end-to-end suite runs on: the same deployment behind workerd, and behind a Node process of its own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { JobReport } from '../../scheduled/run-job.ts';
import { jobsOf } from '../../scheduled/schedule.ts';
import { useStack } from './current-stack.ts';
import { bridgeSettings, directSettings, type Deployment } from './deployment.ts';
import { openJobProcess } from './job-process.ts';
import { repoDir } from './ports.ts';
import { startWorker } from './worker.ts';

export interface RunningPlatform {
  readonly url: string;
  /** Runs the cron functions of one expression, as the platform's clock would. */
  runCron(cron: string): Promise<readonly JobReport[]>;
  /** Gracefully, as the platform does. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export interface Platform {
  readonly name: 'workerd' | 'Node';
  start(
    deployment: Pick<Deployment, 'settings' | 'apiKey'>,
    extraSettings?: Readonly<Record<string, string>>,
  ): Promise<RunningPlatform>;
  /** The headers by which the platform's own geolocation says where a request comes from. */
  placeHeaders(place: readonly [latitude: number, longitude: number]): Readonly<Record<string, string>>;
}

/** Short waits, so that nobody waits for what the product does at leisure. Crons run when a test says so. */
const testSettings = {
  SETWAY_CATALOG_MAX_AGE_MS: '200',
  SETWAY_HEARTBEAT_SECONDS: '1',
  SETWAY_CRON: 'off',
  SETWAY_STOP_GRACE_SECONDS: '5',
  // A SET that answers late on a busy machine is none that is away: only the tests of faults are impatient.
  SETWAY_ACCEPT_TIMEOUT_MS: '10000',
  SETWAY_ACCEPT_DEADLINE_MS: '12000',
} as const;

/** How long a test waits for hosts that may be away on purpose. */
const wakeMs = 20_000;

/**
 * The objects of all SETs are opened at once by a question to each, so that a test's first messages are not judged by
 * how long a busy machine takes to compile and to connect four of them.
 */
async function wakeHosts(url: string, apiKey: string): Promise<void> {
  const endMs = performance.now() + wakeMs;
  const isAwake = async (): Promise<boolean> => {
    const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${apiKey}` } });
    // A SET that does not answer in time is named in a comment.
    return !/^# SET /m.test(await answer.text());
  };
  while (performance.now() < endMs) if (await isAwake()) return;
}

const workerd: Platform = {
  name: 'workerd',
  async start({ settings, apiKey }, extraSettings = {}) {
    const all = { ...settings, ...bridgeSettings(useStack()), ...testSettings, ...extraSettings };
    const worker = await startWorker({ port: 0, settings: all });
    await wakeHosts(worker.url, apiKey);
    return {
      ...worker,
      async runCron(cron) {
        await worker.runCron(cron);
        return []; // it prints its report where the platform keeps logs
      },
      async kill() {
        worker.kill();
        await worker.stop();
      },
    };
  },
  placeHeaders: ([latitude, longitude]) => ({
    'mf-cf-blob': JSON.stringify({ latitude: String(latitude), longitude: String(longitude) }),
  }),
};

const node: Platform = {
  name: 'Node',
  async start({ settings }, extraSettings = {}) {
    const stack = useStack();
    const all = { ...settings, ...directSettings(stack), ...testSettings, ...extraSettings };
    const server = await startProcess({ SETWAY_PLATFORM: 'vercel', SETWAY_PORT: '0', ...all });
    return {
      ...server,
      async runCron(cron) {
        const jobs = openJobProcess({ ...all });
        try {
          return await jobs.run(...jobsOf(cron));
        } finally {
          await jobs.close();
        }
      },
    };
  },
  placeHeaders: ([latitude, longitude]) => ({
    'x-vercel-ip-latitude': String(latitude),
    'x-vercel-ip-longitude': String(longitude),
  }),
};

export const platforms: readonly Platform[] = [workerd, node];

async function startProcess(
  settings: Readonly<Record<string, string>>,
): Promise<Omit<RunningPlatform, 'runCron'>> {
  const main = path.join(repoDir, 'functions', 'node', 'server.ts');
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SETWAY_'));
  const child = spawn(process.execPath, [main], {
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const listening = new Promise<string>((resolve, reject) => {
    void exited.then(([code]) => reject(new Error(`The server ended with ${code}.`)));
    createInterface(child.stdout).on('line', (line) => {
      const url = /^Setway listens at (\S+)$/.exec(line)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
  };
  return { url: await listening, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}
