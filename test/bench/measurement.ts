/** What was measured, and how several rounds become one figure. */
import type { Child } from './child.ts';
import type { LoadReport } from './load.ts';

export interface Measurement {
  readonly name: string;
  /** Per second. */
  readonly rate: number;
  readonly unit: 'requests/s' | 'messages/s' | 'deliveries/s' | 'decisions/s';
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** CPU time of the measured process per request. */
  readonly cpuUs?: number;
  /** Memory of the measured process after its run. */
  readonly rssMiB?: number;
  readonly against?: readonly Comparison[];
}

export interface Comparison {
  readonly of: string;
  readonly ratio: number;
  /** The least ratio that is good. */
  readonly target?: number;
}

/** One round under load, and what the server used for it. */
export interface Round {
  readonly report: LoadReport;
  readonly cpuMs: number;
  readonly rssBytes: number;
}

/** Runs `work` and adds what the child used meanwhile. */
export async function withUsage<T>(
  child: Child,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly cpuMs: number; readonly rssBytes: number }> {
  const before = child.usage();
  const result = await work();
  const { cpuMs, rssBytes } = child.usage();
  return { result, cpuMs: cpuMs - before.cpuMs, rssBytes };
}

/** @throws RangeError when nothing was answered */
export function summarize(name: string, rounds: readonly Round[]): Measurement {
  const sum = (of: (round: Round) => number): number => rounds.reduce((total, round) => total + of(round), 0);
  const answers = sum(({ report }) => report.answers);
  if (answers === 0) throw new RangeError(`${name}: nothing was answered in time. Give it more --seconds.`);
  const latencies = Float64Array.from(rounds.flatMap(({ report }) => [...report.latenciesMs])).sort();
  return {
    name,
    rate: answers / sum(({ report }) => report.seconds),
    unit: 'requests/s',
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    cpuUs: (sum(({ cpuMs }) => cpuMs) * 1000) / sum(({ report }) => report.allAnswers),
    rssMiB: Math.max(...rounds.map(({ rssBytes }) => rssBytes)) / 2 ** 20,
  };
}

/** Nearest rank, of sorted values. */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export function compare(measurement: Measurement, to: Measurement, target?: number): Measurement {
  const comparison = {
    of: to.name,
    ratio: measurement.rate / to.rate,
    ...(target === undefined ? {} : { target }),
  };
  return { ...measurement, against: [...(measurement.against ?? []), comparison] };
}
