/**
 * Takes over, by itself, SETs whose hosts have died: of those that say `takeOver: 'automatic'`, when hosts have beaten and
 * none has for the expiry time; and goes on with what was begun. Never without the SET's database: whoever cannot reach it
 * knows neither whether its hosts beat nor what it holds. Hosts that stop by themselves sign off and have not died.
 */
import { asProblem } from '../shared/problem.ts';
import type { Job, JobParts } from './run-job.ts';

export const takeOverDead: Job = {
  name: 'take-over',
  async run(parts) {
    const { sets, fates } = await parts.catalog.current();
    const watched = [...sets.keys()].filter((set) => fates?.get(set)?.takeOver === 'automatic');
    const failures: { set: string; detail: string }[] = [];
    let handled = 0;
    for (const set of watched) {
      try {
        handled += await takeOverIfDead(parts, set);
      } catch (error) {
        failures.push({ set, detail: asProblem(error).message });
      }
    }
    return { handled, failures };
  },
};

async function takeOverIfDead(parts: JobParts, set: string): Promise<number> {
  const { sets } = await parts.catalog.current();
  const databases = await parts.databases(set);
  // One that is fenced on purpose is its operator's; one whose take-over was begun is gone on with.
  const isBegun = await databases.isTakenOverInPart();
  if (!isBegun && (sets.get(set)?.status !== 'active' || !(await databases.areHostsDead()))) return 0;
  const failure = await parts.takeOver(set).then(() => undefined, asProblem);
  parts.telemetry.count('setway_take_overs_total', { set, result: failure ? 'failed' : 'done' });
  if (failure) throw failure;
  return 1;
}
