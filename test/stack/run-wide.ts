/**
 * What the files of one run of the tests share, in a folder that goes with the run: the bundle of the worker, built by
 * the file that needs it first, and what Node has compiled, for all the processes that tests start.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { repoDir } from './ports.ts';
import { bundleVariable } from './worker.ts';

let dir: string | undefined;

/** Called by vitest before the first file. */
export function setup({ config }: TestProject): void {
  if (config.watch) return; // the sources of the bundle may change
  mkdirSync(path.join(repoDir, '.setway'), { recursive: true });
  dir = mkdtempSync(path.join(repoDir, '.setway', 'run-'));
  process.env[bundleVariable] = path.join(dir, 'worker');
  process.env['NODE_COMPILE_CACHE'] ??= path.join(dir, 'compiled');
}

/** Called by vitest after the last file. */
export function teardown(): void {
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
}
