/** The command line as an operator calls it, with the settings of a deployment. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { runRoutes } from '../../functions/cli/routes.ts';
import { runSets } from '../../functions/cli/sets.ts';
import { asProblem } from '../../shared/problem.ts';
import { useStack } from './current-stack.ts';
import { directSettings, type Deployment } from './deployment.ts';
import { repoDir } from './ports.ts';

export interface CommandOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function environment({ settings }: Pick<Deployment, 'settings'>): Readonly<Record<string, string>> {
  return { ...directSettings(useStack()), ...settings };
}

/** A process of its own. @example const { stdout } = await setway(deployment, 'sets', 'status'); */
export function setway(
  deployment: Pick<Deployment, 'settings'>,
  ...args: readonly string[]
): Promise<CommandOutput> {
  const env = { ...process.env, ...environment(deployment) };
  const main = path.join(repoDir, 'functions', 'cli', 'main.ts');
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [main, ...args],
      { cwd: repoDir, env },
      (_error, stdout, stderr) => resolve({ exitCode: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** `setway sets …` within this process, which saves the start of another one; one at a time. */
export function setwaySets(
  deployment: Pick<Deployment, 'settings'>,
  ...args: readonly string[]
): Promise<CommandOutput> {
  return within(deployment, (print) => runSets(args, print));
}

/** `setway routes …`, likewise. */
export function setwayRoutes(
  deployment: Pick<Deployment, 'settings'>,
  ...args: readonly string[]
): Promise<CommandOutput> {
  return within(deployment, (print) => runRoutes(args, print));
}

async function within(
  deployment: Pick<Deployment, 'settings'>,
  run: (print: (text: string) => void) => Promise<void>,
): Promise<CommandOutput> {
  const before = { ...process.env };
  Object.assign(process.env, environment(deployment));
  let stdout = '';
  try {
    await run((text) => void (stdout += `${text}\n`));
    return { exitCode: 0, stdout, stderr: '' };
  } catch (error) {
    return { exitCode: 1, stdout, stderr: `${asProblem(error).message}\n` };
  } finally {
    process.env = before;
  }
}
