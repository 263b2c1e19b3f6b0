/** `npm run demo -- --example <name>`: on the stack that `npm start` runs, or on one started for it. */
import { findRunning, startPlace } from '../../stack/local-setway.ts';
import { startStack } from '../../stack/stack.ts';
import { findExample } from './examples.ts';
import { perform } from './stage.ts';

/** @returns the exit code: 1 when the example ends wrong. @throws when there is no such example */
export async function playExample(name: string, signalled: Promise<unknown>): Promise<number> {
  const example = findExample(name);
  const place = startPlace(process.env);
  const print = (line: string): void => console.log(line);
  const running = findRunning(place.dir);
  const started = running
    ? undefined
    : await startStack({ ...place, data: 'kept', log: (line) => print(`  ${line}`) });
  const addresses = running?.addresses ?? started?.addresses;
  if (!addresses) throw new Error('There is no stack.');
  try {
    print('');
    const playing = perform({ addresses, print }, example);
    const outcome = await Promise.race([playing, signalled.then(() => 'stopped' as const)]);
    if (outcome === 'stopped') return 130;
    print(outcome === 'right' ? '✓ as it should be' : '✗ not as it should be, see above');
    return outcome === 'right' ? 0 : 1;
  } finally {
    await started?.stop();
  }
}
