/**
 * A server program under our control, from start to certain death.
 *
 * It runs in its own session, so a Ctrl-C in the terminal reaches only us and we stop things in order. Its pid and
 * start time lie in a file: a run that was killed leaves them, and the next one stops what is left (`stopLeftovers`).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { isRunning, listProcesses, processTree, signal, type ProcessEntry } from './process-tree.ts';
import { until } from './part.ts';

export interface ServerProgram {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Whom to run it as, when we are root and the program refuses root. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  readonly stopSignal: NodeJS.Signals;
  /** Folder for its pid file and its log. */
  readonly dir: string;
}

/** RabbitMQ needs about 6 s; after this the program is killed. */
const stopDeadlineMs = 20_000;

/** What runs now, to be killed with us if we end without stopping it. */
const running = new Set<() => void>();
process.on('exit', () => running.forEach((kill) => kill()));

export class ServerProcess {
  readonly #program: ServerProgram;
  #child: ChildProcess | undefined;
  readonly #lastResort = (): void => void this.#killNow();

  constructor(program: ServerProgram) {
    this.#program = program;
  }

  /**
   * Starts the program and waits until `isReady` passes.
   *
   * @throws with the end of the program's log when it dies or is not ready in time; nothing is left running then
   */
  async start(isReady: () => Promise<void>, deadlineMs: number): Promise<void> {
    if (this.#tree().length > 0) return;
    this.#child = this.#spawn();
    running.add(this.#lastResort);
    try {
      await Promise.race([until(isReady, deadlineMs), this.#failure()]);
    } catch (error) {
      await this.kill();
      throw new Error(`${this.#program.name} did not start; the end of its log:\n${this.#logTail()}`, {
        cause: error,
      });
    }
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#tree()[0]?.pid;
  }

  async stop(): Promise<void> {
    const tree = this.#tree();
    const [root] = tree;
    if (root !== undefined) {
      this.resume();
      signal(root.pid, this.#program.stopSignal);
      await gone(tree, stopDeadlineMs).catch(() => {}); // what has not stopped by now is killed
    }
    await this.kill();
  }

  async kill(): Promise<void> {
    const tree = this.#killNow();
    await gone(tree, stopDeadlineMs);
    running.delete(this.#lastResort);
    rmSync(this.#pidFile, { force: true });
    this.#child = undefined;
  }

  pause(): void {
    for (const { pid } of this.#tree()) signal(pid, 'SIGSTOP');
  }

  resume(): void {
    for (const { pid } of this.#tree()) signal(pid, 'SIGCONT');
  }

  /** The root is stopped first so that it cannot start another child while its children are listed. */
  #killNow(): ProcessEntry[] {
    const pid = this.#child?.pid;
    if (pid === undefined) return [];
    if (this.#tree().length > 0) signal(pid, 'SIGSTOP');
    const tree = this.#tree();
    for (const entry of tree) signal(entry.pid, 'SIGKILL');
    return tree;
  }

  #tree(): ProcessEntry[] {
    const { pid, exitCode, signalCode } = this.#child ?? {};
    const hasEnded = exitCode !== null || signalCode !== null; // its pid may belong to another one by now
    return pid === undefined || hasEnded ? [] : processTree(pid);
  }

  #spawn(): ChildProcess {
    const { command, args, env, cwd, user, dir } = this.#program;
    mkdirSync(dir, { recursive: true });
    const log = openSync(this.#logFile, 'a');
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: env ?? process.env,
      cwd,
      ...user,
    });
    closeSync(log);
    child.unref();
    const entry = listProcesses().find(({ pid }) => pid === child.pid);
    if (entry !== undefined) writePidFile(this.#program, entry);
    return child;
  }

  #failure(): Promise<never> {
    return new Promise((_resolve, reject) => {
      this.#child?.once('error', reject);
      this.#child?.once('exit', (code, name) => reject(new Error(`it ended with ${code ?? name}`)));
    });
  }

  get #pidFile(): string {
    return pidFile(this.#program);
  }

  get #logFile(): string {
    return path.join(this.#program.dir, `${this.#program.name}.log`);
  }

  #logTail(): string {
    return existsSync(this.#logFile)
      ? readFileSync(this.#logFile, 'utf8').split('\n').slice(-30).join('\n')
      : '';
  }
}

type Place = Pick<ServerProgram, 'dir' | 'name'>;

function pidFile({ dir, name }: Place): string {
  return path.join(dir, `${name}.pid.json`);
}

/** Remembers a process for `stopLeftovers`; a pid file whose process has ended does no harm. */
export function writePidFile(program: Place & Pick<ServerProgram, 'stopSignal'>, entry: ProcessEntry): void {
  writeFileSync(pidFile(program), JSON.stringify({ ...entry, stopSignal: program.stopSignal }));
}

/** Stops, gracefully and then by force, every server below `dir` that an earlier run left; returns their names. */
export async function stopLeftovers(dir: string): Promise<string[]> {
  const files = globSync('**/*.pid.json', { cwd: dir }).map((file) => path.join(dir, file));
  const stopped = await Promise.all(files.map(stopLeftover));
  return stopped.flat();
}

async function stopLeftover(file: string): Promise<string[]> {
  const entry = JSON.parse(readFileSync(file, 'utf8')) as ProcessEntry & {
    readonly stopSignal: NodeJS.Signals;
  };
  const found = isRunning(entry);
  if (found) {
    const tree = processTree(entry.pid);
    signal(entry.pid, 'SIGCONT');
    signal(entry.pid, entry.stopSignal);
    await gone(tree, stopDeadlineMs).catch(() => tree.forEach(({ pid }) => signal(pid, 'SIGKILL')));
    await gone(tree, stopDeadlineMs);
  }
  rmSync(file, { force: true });
  return found ? [path.basename(file, '.pid.json')] : [];
}

async function gone(tree: readonly ProcessEntry[], deadlineMs: number): Promise<void> {
  const check = async () => {
    const left = tree.filter(isRunning);
    if (left.length > 0) throw new Error(`still running: ${left.map(({ pid }) => pid).join(', ')}`);
  };
  await until(check, deadlineMs);
}
