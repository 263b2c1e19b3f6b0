/** Which processes are there and who started whom: from /proc where it exists, else from `ps`. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';

export interface ProcessEntry {
  readonly pid: number;
  readonly parentPid: number;
  /** When it started, in whatever unit the system tells; with the pid it names one process for good. */
  readonly startedAt: string;
}

/** Every process that still runs; the dead that wait for their parent (zombies) are left out. */
export function listProcesses(): ProcessEntry[] {
  return existsSync('/proc/self/stat') ? listFromProc() : listFromPs();
}

/** The process itself and everything below it. Empty when it is gone. */
export function processTree(pid: number): ProcessEntry[] {
  const all = listProcesses();
  const tree = all.filter((entry) => entry.pid === pid);
  for (const { pid: parent } of tree) tree.push(...all.filter((entry) => entry.parentPid === parent));
  return tree;
}

export function isRunning({ pid, startedAt }: Pick<ProcessEntry, 'pid' | 'startedAt'>): boolean {
  return listProcesses().some((entry) => entry.pid === pid && entry.startedAt === startedAt);
}

/** Sends a signal; a process that has just gone is no fault. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function listFromProc(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcEntry(Number(name)));
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; the command in parentheses may hold blanks. */
function readProcEntry(pid: number): ProcessEntry[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parentPid, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return [];
    return [{ pid, parentPid: Number(parentPid), startedAt: rest[17] ?? '' }];
  } catch {
    return []; // it ended while we looked
  }
}

function listFromPs(): ProcessEntry[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,lstart='], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return lines.flatMap((line) => {
    const [pid, parentPid, state = '', ...startedAt] = line.trim().split(/\s+/);
    return state.startsWith('Z')
      ? []
      : [{ pid: Number(pid), parentPid: Number(parentPid), startedAt: startedAt.join(' ') }];
  });
}
