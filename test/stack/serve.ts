/**
 * A stack for development, until Ctrl-C: `node test/stack/bootstrap.mjs test/stack/serve.ts [--fresh]`.
 * Its last line, pasted into another terminal, lets `npm test` and vitest use it instead of starting their own.
 */
import path from 'node:path';
import { testStackVariable } from './current-stack.ts';
import { defaultPortBase, repoDir, stackPlace } from './ports.ts';
import { startStack } from './stack.ts';
import { stopSignal } from './stop-signal.ts';

const signalled = stopSignal();
const place = stackPlace(process.env, {
  portBase: defaultPortBase,
  dir: path.join(repoDir, '.setway', 'stack'),
});
const data = process.argv.includes('--fresh') ? 'fresh' : 'kept';
const stack = await Promise.race([startStack({ ...place, data, log: console.log }), signalled]);
if (typeof stack === 'string') process.exit(130); // what has started so far is killed with us
console.log(`export ${testStackVariable}='${JSON.stringify(stack.addresses)}'`);
await signalled;
console.log('stopping');
await stack.stop();
