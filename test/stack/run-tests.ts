/**
 * `npm test`: a fresh stack of its own, vitest against it, and nothing left behind. Arguments go to `vitest run`.
 * Files that failed are run once more.
 * With `SETWAY_TEST_STACK` set (see serve.ts) vitest runs against that stack, which keeps running.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { StackAddresses } from './addresses.ts';
import { lineOf, outcomeVariable, type Counts, type RunOutcome } from './counts-reporter.ts';
import { privateStacksDir, testStackVariable } from './current-stack.ts';
import { onlyVariable } from './only-files.ts';
import { repoDir, stackPlace, testPortBase } from './ports.ts';
import { stopLeftovers } from './server-process.ts';
import { startStack } from './stack.ts';
import { stopSignal } from './stop-signal.ts';

/** More failed files than these are no starved moment. */
const mostAgain = 5;

const signalled = stopSignal();
let isSignalled = false;
const running = process.env[testStackVariable];
process.exitCode =
  running === undefined ? await testOnOwnStack() : await runVitest(JSON.parse(running) as StackAddresses);

async function testOnOwnStack(): Promise<number> {
  const place = stackPlace(process.env, {
    portBase: testPortBase,
    dir: path.join(repoDir, '.setway', 'test'),
  });
  const starting = startStack({ ...place, data: 'fresh', log: (line) => console.log(`stack: ${line}`) });
  const stack = await Promise.race([starting, signalled]);
  if (typeof stack === 'string') process.exit(130); // what has started so far is killed with us
  try {
    return await runVitest(stack.addresses);
  } finally {
    await stack.stop();
  }
}

/**
 * Servers of several tests share the machine: files that failed get a second try, which tells a starved moment from a
 * fault. It begins from nothing, with a deployment of its own: what the first try left behind would fail the second one.
 */
async function runVitest(addresses: StackAddresses): Promise<number> {
  try {
    const first = await runOnce(addresses, {});
    const failed = first.outcome?.failedFiles ?? [];
    if (first.code === 0 || isSignalled || failed.length === 0 || failed.length > mostAgain)
      return first.code;
    const files = failed.map(({ file }) => file);
    console.log(`\nOnce more, from nothing: ${files.join(', ')}\n`);
    const second = await runOnce(addresses, { [onlyVariable]: JSON.stringify(files) });
    if (second.outcome) tellBoth(first.outcome, second.outcome);
    return second.code;
  } finally {
    await stopLeftovers(privateStacksDir(addresses)); // a worker that was killed could not stop its own
  }
}

function tellBoth(first: RunOutcome | undefined, second: RunOutcome): void {
  if (!first) return;
  const inAll = (of: keyof Counts): number =>
    first[of] - first.failedFiles.reduce((sum, file) => sum + file[of], 0) + second[of];
  for (const { file, failed } of first.failedFiles) console.log(`${file}: ${failed} failed at the first try`);
  console.log(lineOf({ passed: inAll('passed'), failed: inAll('failed'), skipped: inAll('skipped') }));
}

interface Run {
  readonly code: number;
  /** Unknown when vitest came to no end. */
  readonly outcome: RunOutcome | undefined;
}

async function runOnce(addresses: StackAddresses, more: NodeJS.ProcessEnv): Promise<Run> {
  const vitest = path.join(repoDir, 'node_modules', 'vitest', 'vitest.mjs');
  const outcomeFile = path.join(repoDir, '.setway', `outcome-${process.pid}.json`);
  mkdirSync(path.dirname(outcomeFile), { recursive: true });
  rmSync(outcomeFile, { force: true });
  const shared = { [testStackVariable]: JSON.stringify(addresses), [outcomeVariable]: outcomeFile };
  const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], {
    cwd: repoDir,
    stdio: 'inherit',
    env: { ...process.env, ...shared, ...more },
  });
  void signalled.then((name) => {
    isSignalled = true;
    child.kill(name);
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject).once('exit', (exitCode) => resolve(exitCode ?? 1));
  });
  if (!existsSync(outcomeFile)) return { code, outcome: undefined };
  const outcome = JSON.parse(readFileSync(outcomeFile, 'utf8')) as RunOutcome;
  rmSync(outcomeFile);
  return { code, outcome };
}
