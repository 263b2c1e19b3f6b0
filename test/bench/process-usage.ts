/** What a process uses: from /proc where it exists, else from `ps`. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

export interface ProcessUsage {
  /** CPU time of all its threads since it started, in milliseconds; whole hundredths of a second. */
  readonly cpuMs: number;
  /** Resident memory. */
  readonly rssBytes: number;
}

/** @throws when the process is gone */
export function usageOf(pid: number): ProcessUsage {
  return existsSync('/proc/self/stat') ? usageFromProc(pid) : usageFromPs(pid);
}

/** Linux counts the time of processes in hundredths of a second, whatever its own clock does (`getconf CLK_TCK`). */
const tickMs = 10;

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; the command in parentheses may hold blanks. */
function usageFromProc(pid: number): ProcessUsage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const rssKib = /^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1];
  return { cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs, rssBytes: Number(rssKib) * 1024 };
}

function usageFromPs(pid: number): ProcessUsage {
  const [rssKib, time = ''] = execFileSync('ps', ['-o', 'rss=,time=', '-p', String(pid)], {
    encoding: 'utf8',
  })
    .trim()
    .split(/\s+/);
  // [[dd-]hh:]mm:ss[.cc]
  const seconds = time.split(/[-:]/).reduceRight(
    ({ sum, unit, next }, part) => ({
      sum: sum + Number(part) * unit,
      unit: unit * (next[0] ?? 0),
      next: next.slice(1),
    }),
    { sum: 0, unit: 1, next: [60, 60, 24] },
  ).sum;
  return { cpuMs: seconds * 1000, rssBytes: Number(rssKib) * 1024 };
}
