import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';
import { repoDir } from './ports.ts';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** What a run of vitest leaves for who started it. */
export interface RunOutcome extends Counts {
  /** Files with a failed test, or that could not be loaded, with their own counts. */
  readonly failedFiles: readonly (Counts & { readonly file: string })[];
}

/** Names the file that is to hold the RunOutcome as JSON. */
export const outcomeVariable = 'SETWAY_TEST_OUTCOME';

/** @example lineOf({ passed: 2, failed: 0, skipped: 1 }) // '2 passed, 0 failed, 1 skipped' */
export function lineOf({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** Ends a run with one plain line of counts, for whoever reads only the end. */
export class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const files = modules.map((module) => ({
      file: path.relative(repoDir, module.moduleId),
      ...countsOf(module),
    }));
    const sum = (of: keyof Counts): number => files.reduce((total, file) => total + file[of], 0);
    const counts = { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
    const outcome: RunOutcome = { ...counts, failedFiles: files.filter(({ failed }) => failed > 0) };
    const file = process.env[outcomeVariable];
    if (file !== undefined) writeFileSync(file, JSON.stringify(outcome));
    process.once('exit', () => process.stdout.write(`${lineOf(counts)}\n`));
  }
}

function countsOf(module: TestModule): Counts {
  const states = [...module.children.allTests()].map((test) => test.result().state);
  const count = (state: string): number => states.filter((each) => each === state).length;
  const failed = count('failed');
  // A file that could not be loaded, or whose hooks failed, is a failure though no test of it is.
  const isBroken = failed === 0 && module.state() === 'failed';
  return { passed: count('passed'), failed: failed + (isBroken ? 1 : 0), skipped: count('skipped') };
}
