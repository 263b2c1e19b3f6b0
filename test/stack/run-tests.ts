/**
 * `npm test`: a fresh stack of its own, vitest against it, and nothing left behind. Arguments go to `vitest run`.
 * With `SETWAY_TEST_STACK` set (see serve.ts) vitest runs against that stack, which keeps running.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { StackAddresses } from './addresses.ts';
import { privateStacksDir, testStackVariable } from './current-stack.ts';
import { repoDir, stackPlace, testPortBase } from './ports.ts';
import { stopLeftovers } from './server-process.ts';
import { startStack } from './stack.ts';
import { stopSignal } from './stop-signal.ts';

const signalled = stopSignal();
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

async function runVitest(addresses: StackAddresses): Promise<number> {
  const vitest = path.join(repoDir, 'node_modules', 'vitest', 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], {
    cwd: repoDir,
    stdio: 'inherit',
    env: { ...process.env, [testStackVariable]: JSON.stringify(addresses) },
  });
  void signalled.then((name) => child.kill(name));
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject).once('exit', (exitCode) => resolve(exitCode ?? 1));
  });
  await stopLeftovers(privateStacksDir(addresses)); // a worker that was killed could not stop its own
  return code;
}
