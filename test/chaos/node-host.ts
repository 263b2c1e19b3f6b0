/** Setway in a Node process of its own, so that it can be killed. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import path from 'node:path';
import { until } from '../stack/part.ts';
import { repoDir } from '../stack/ports.ts';
import { isRunning, processTree, signal } from '../stack/process-tree.ts';

export interface NodeHost {
  readonly url: string;
  readonly pid: number;
  /** SIGKILL to the whole tree. Resolves when it is gone. @throws when it was gone before, or does not go */
  kill(): Promise<void>;
  /** SIGTERM, and waits for the end; one that is dead already is fine. */
  stop(): Promise<void>;
}

const startDeadlineMs = 30_000;
const stopDeadlineMs = 30_000;

/** @example const host = await startNodeHost({ ...deployment.settings, ...directSettings(addresses), SETWAY_PORT: '0' }) */
export async function startNodeHost(settings: Readonly<Record<string, string>>): Promise<NodeHost> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SETWAY_'));
  const child = spawn(process.execPath, [path.join(repoDir, 'functions/node/server.ts')], {
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('The host did not start.');
  const lastResort = (): void => signal(pid, 'SIGKILL');
  process.on('exit', lastResort);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      process.off('exit', lastResort);
      resolve();
    });
  });
  const url = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('The host did not start in time.')), startDeadlineMs);
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /^Setway listens at (\S+)$/.exec(line)?.[1];
      if (found === undefined) return;
      clearTimeout(late);
      resolve(found);
    });
    void exited.then(() => reject(new Error(`The host ended with ${child.exitCode} before it listened.`)));
  });
  return {
    url,
    pid,
    async kill() {
      const tree = processTree(pid);
      if (tree.length === 0) throw new Error('The host was gone before it could be killed.');
      for (const entry of tree) signal(entry.pid, 'SIGKILL');
      await exited;
      await until(async () => {
        if (tree.some(isRunning)) throw new Error('A killed process is still there.');
      }, stopDeadlineMs);
    },
    async stop() {
      signal(pid, 'SIGTERM');
      const timer = setTimeout(() => signal(pid, 'SIGKILL'), stopDeadlineMs);
      await exited;
      clearTimeout(timer);
    },
  };
}
